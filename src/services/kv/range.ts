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

/** KV.Range: handed to the one shard that its keys are on, or a snapshot of several. */
export function rangeHandler(context: KvContext): UnaryHandler {
  const { router } = context;
  return (call, bytes, reply) =>
    attempt(reply, () => {
      const request = RangeRequest.decode(bytes);
      checkRange(request);
      const extent = visible(request);
      if (extent === undefined) return answerAsync(reply, () => rangeOverShards(context, call, request, []));
      if (extent.rangeEnd.length === 0) {
        return rangeOnShard(context, call, { request, bytes, extent }, router.shardOf(extent.key), reply);
      }
      const shards = router.shardsOf(extent.key, extent.rangeEnd);
      if (shards.length > 1 && isScan(request)) {
        return answerAsync(reply, () => scan(context, { call, request, extent, shards }));
      }
      if (shards.length !== 1)
        return answerAsync(reply, () => rangeOverShards(context, call, request, shards));
      rangeOnShard(context, call, { request, bytes, extent }, shards[0], reply);
    });
}

interface Given {
  readonly request: RangeRequest;
  /** The request as it came. */
  readonly bytes: Uint8Array;
  /** What of it clients can see; the request itself when that is all. */
  readonly extent: KeyRange;
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
  const { timeline, shards, limits } = context;
  const { request, bytes, extent } = given;
  checkReadable(request.revision, timeline);
  const verbatim =
    extent === request && request.rangeEnd !== GIVEN_EMPTY && request.revision <= 0 && !hasBounds(request);
  const payload = verbatim ? bytes : encodeFor(context, given, shard, 0);
  // A revision below 0 stands for the newest in a Range, and not in a transaction.
  if (extent.rangeEnd.length === 0 && request.revision === 0 && !request.serializable) {
    context.pointReads[shard].read(call, payload, (error, response, from, to, shardRevision) => {
      if (error !== undefined) reply(error);
      else answerRange(context, shard, shardRevision, response, reply, from, to);
    });
    return;
  }
  const kind = request.serializable ? "stale read" : "read";
  const end = request.serializable ? FOLDED : timeline.beginRead(shard);
  ask(call, shards[shard], KV.Range, payload, callOptions(call, kind, limits), (error, response) =>
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
 * True when a member that lags has answered from a state before the newest compaction: the numbers of such states
 * are forgotten.
 */
function isTooOld(context: KvContext, shard: number, revision: number): boolean {
  const { timeline } = context;
  return timeline.compactRevision > 0 && revision < timeline.lastAt(timeline.compactRevision, shard);
}

/**
 * A serializable read for which the shard was ahead of the timeline while the timeline's host could not be reached:
 * answered from the newest state that has a number.
 */
function rangeAtCut(context: KvContext, call: Call, given: Given, shard: number, reply: Reply): void {
  const { timeline, shards, limits } = context;
  const cut = readAt(timeline.head, timeline, shard);
  const payload = encodeFor(context, given, shard, cut);
  const options = callOptions(call, "stale read", limits);
  ask(call, shards[shard], KV.Range, payload, options, (error, response) => {
    if (error !== undefined) reply(error);
    else answerAndGiveBack(context, shard, cut, response, reply);
  });
}

/** The request for a shard, to be read at the client's revision or else at shard revision `at` (0: the newest). */
function encodeFor(context: KvContext, given: Given, shard: number, at: number): Uint8Array {
  const { timeline } = context;
  const { revision } = given.request;
  const shardRevision = revision > 0 ? readAt(revision, timeline, shard) : at;
  const translated = translateRange(given.request, shardRevision, timeline, shard);
  return RangeRequest.encode({ ...translated, key: given.extent.key, rangeEnd: given.extent.rangeEnd });
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

/** Answers with the RangeResponse between `from` and `to` of `response`. */
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
    return rewriteRange(response, header, context.toRevision[shard], lendUntilSent, from, to);
  });
}

/** A Range as a snapshot of several shards whose keys have to be sorted, or of none where the range is empty. */
async function rangeOverShards(
  context: KvContext,
  call: Call,
  request: RangeRequest,
  shards: readonly number[],
): Promise<Uint8Array> {
  const { timeline, identity } = context;
  // Nobody is asked anything then, but by rights somebody has to be.
  if (shards.length === 0 && call.caller !== undefined) await mayRead(context.shards[0], call, request);
  const local = request.serializable && rangeHorizon(request) <= timeline.head;
  return atHead(context, call, local, request.revision > 0 ? [] : shards, async (head) => {
    checkReadable(request.revision, timeline);
    const at = request.revision > 0 ? request.revision : head;
    const response = await readSnapshot(context, call, request, at, head);
    return Buffer.concat([identity.header(head), RangeResponse.encode(response)]);
  });
}
