import { mayRead } from "../../auth/permission.js";
import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { FOLDED } from "../../timeline/ends.js";
import { lendUntilSent, release } from "../../turn/buffers.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { GIVEN_EMPTY, RangeRequest, RangeResponse } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { peekRevision, rewriteRange } from "../../wire/rewrite.js";
import { after, answer, answerAsync, ask, attempt, callOptions } from "./calls.js";
import { checkRange } from "./check.js";
import type { KvContext } from "./context.js";
import { visible } from "./keyspace.js";
import { isScan, scan } from "./scan.js";
import { atHead, readSnapshot } from "./snapshot.js";
import { checkReadable, hasBounds, rangeHorizon, readAt, translateRange } from "./translate.js";

/** KV.Range. It goes to the shard that its keys are on, or is answered from a snapshot of several shards. */
export function rangeHandler(context: KvContext): UnaryHandler {
  const { router } = context;
  return (call, bytes, reply) =>
    attempt(reply, () => {
      const request = RangeRequest.decode(bytes);
      checkRange(request);
      const range = visible(request);
      if (range === undefined) return answerAsync(reply, () => rangeOverShards(context, call, request, []));
      if (range.rangeEnd.length === 0) {
        return rangeOnShard(context, call, { request, bytes, range }, router.shardOf(range.key), reply);
      }
      const shards = router.shardsOf(range.key, range.rangeEnd);
      const only = shards.length === 1 ? shards[0] : undefined;
      if (only !== undefined) return rangeOnShard(context, call, { request, bytes, range }, only, reply);
      if (shards.length > 1 && isScan(request)) {
        return answerAsync(reply, () => scan(context, { call, request, range, shards }));
      }
      answerAsync(reply, () => rangeOverShards(context, call, request, shards));
    });
}

interface Given {
  readonly request: RangeRequest;
  /** The client's encoded request. */
  readonly bytes: Uint8Array;
  /** The part of the range that clients can see. The request itself when that is all of it. */
  readonly range: KeyRange;
}

function rangeOnShard(context: KvContext, call: Call, given: Given, shard: number, reply: Reply): void {
  const { timeline } = context;
  const send = () => sendRange(context, call, given, shard, reply);
  if (rangeHorizon(given.request) <= timeline.head) {
    send();
  } else {
    after(timeline.sync(), (error) => {
      if (error !== undefined) reply(error);
      else attempt(reply, send);
    });
  }
}

function sendRange(context: KvContext, call: Call, given: Given, shard: number, reply: Reply): void {
  const { timeline, limits } = context;
  const { request, bytes, range } = given;
  checkReadable(request.revision, timeline);
  const verbatim =
    range === request && request.rangeEnd !== GIVEN_EMPTY && request.revision <= 0 && !hasBounds(request);
  const payload = verbatim ? bytes : encodeFor(context, given, shard, 0);
  // Not for a negative revision: it means the newest one in a Range, but not in a transaction.
  if (range.rangeEnd.length === 0 && request.revision === 0 && !request.serializable) {
    context.pointReadsOf(shard).read(call, payload, (error, response, from, to, shardRevision) => {
      if (error !== undefined) reply(error);
      else answerRange(context, shard, shardRevision, response, reply, from, to);
    });
    return;
  }
  const kind = request.serializable ? "stale read" : "read";
  const end = request.serializable ? FOLDED : timeline.beginRead(shard);
  ask(call, context.shardAt(shard), KV.Range, payload, callOptions(call, kind, limits), (error, response) =>
    attempt(reply, () => {
      if (error !== undefined) return reply(error);
      const revision = peekRevision(response);
      if (request.serializable && isTooOld(context, shard, revision)) {
        const linearizable = { ...given, request: { ...request, serializable: false } };
        return sendRange(context, call, linearizable, shard, reply);
      }
      timeline.whenRead(shard, revision, end, (unsealed) => {
        if (unsealed === undefined) return answerAndGiveBack(context, shard, revision, response, reply);
        if (!request.serializable) return reply(unsealed);
        attempt(reply, () => rangeAtCut(context, call, given, shard, reply));
      });
    }),
  );
}

/**
 * True when a lagging member has answered from a state before the newest compaction. The timeline no longer knows the
 * revisions of such states.
 */
function isTooOld(context: KvContext, shard: number, revision: number): boolean {
  const { timeline } = context;
  return timeline.compactRevision > 0 && revision < timeline.lastAt(timeline.compactRevision, shard);
}

/**
 * Answers a serializable read from the newest sealed state. Used when the shard is ahead of the timeline and the timeline
 * host cannot be reached.
 */
function rangeAtCut(context: KvContext, call: Call, given: Given, shard: number, reply: Reply): void {
  const { timeline, limits } = context;
  const cut = readAt(timeline.head, timeline, shard);
  const payload = encodeFor(context, given, shard, cut);
  const options = callOptions(call, "stale read", limits);
  ask(call, context.shardAt(shard), KV.Range, payload, options, (error, response) => {
    if (error !== undefined) reply(error);
    else answerAndGiveBack(context, shard, cut, response, reply);
  });
}

/** The request for a shard, at the client's revision if it has one, else at shard revision `at` (0: the newest). */
function encodeFor(context: KvContext, given: Given, shard: number, at: number): Uint8Array {
  const { timeline } = context;
  const { revision } = given.request;
  const shardRevision = revision > 0 ? readAt(revision, timeline, shard) : at;
  const translated = translateRange(given.request, shardRevision, timeline, shard);
  return RangeRequest.encode({ ...translated, key: given.range.key, rangeEnd: given.range.rangeEnd });
}

function answerAndGiveBack(
  context: KvContext,
  shard: number,
  shardRevision: number,
  response: Uint8Array,
  reply: Reply,
): void {
  answerRange(context, shard, shardRevision, response, reply, 0, response.length);
  release(response);
}

/** Replies with the RangeResponse between `from` and `to` of `response`. */
function answerRange(
  context: KvContext,
  shard: number,
  shardRevision: number,
  response: Uint8Array,
  reply: Reply,
  from: number,
  to: number,
): void {
  answer(reply, () => {
    const header = context.identity.header(context.timeline.readRevision(shard, shardRevision));
    return rewriteRange(response, header, context.revisionsOf(shard), lendUntilSent, from, to);
  });
}

/** Answers a Range that `scan` cannot: the keys of several shards have to be sorted, or the range is empty. */
async function rangeOverShards(
  context: KvContext,
  call: Call,
  request: RangeRequest,
  shards: readonly number[],
): Promise<Uint8Array> {
  const { timeline, identity } = context;
  // An empty range concerns no shard, so one has to judge the client explicitly.
  if (shards.length === 0 && call.caller !== undefined) await mayRead(context.shardAt(0), call, request);
  const local = request.serializable && rangeHorizon(request) <= timeline.head;
  return atHead(context, call, local, request.revision > 0 ? [] : shards, async (head) => {
    checkReadable(request.revision, timeline);
    const at = request.revision > 0 ? request.revision : head;
    const response = await readSnapshot(context, call, request, at, head);
    return Buffer.concat([identity.header(head), RangeResponse.encode(response)]);
  });
}
