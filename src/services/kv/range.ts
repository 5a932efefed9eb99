import { mayRead } from "../../auth/permission.js";
import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { FOLDED } from "../../timeline/logEnds.js";
import { lendUntilSent, release } from "../../turn/buffers.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { GIVEN_EMPTY, RangeRequest, RangeResponse } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { peekMore, peekRevision, rewriteRange } from "../../wire/rewrite.js";
import { after, answer, answerAsync, ask, attempt, type CallKind, callOptions } from "./calls.js";
import { checkRange } from "./check.js";
import type { KvContext } from "./context.js";
import { needsHolders, ordersNumbers } from "./holders.js";
import { visible } from "./keyspace.js";
import { mayBeLong, PART_KEYS, partKeysFor } from "./longRange.js";
import { isScan, mergeAll, scan, scanAtHead, shardRequest } from "./scan.js";
import { SnapshotGone } from "./shardReads.js";
import { atHead, readSnapshot } from "./snapshot.js";
import { checkKept, checkReadable, hasBounds, rangeHorizon, readAt, translateRange } from "./translate.js";

/** Shorter responses have fewer than `PART_KEYS` keys. */
const MIN_LONG_BYTES = 8 * PART_KEYS;

/** KV.Range. It goes to the shard that its keys are on, or is answered from a snapshot of several shards. */
export function rangeHandler(context: KvContext): UnaryHandler {
  return (call, bytes, reply) =>
    attempt(reply, () => {
      const request = RangeRequest.decode(bytes);
      checkRange(request);
      const range = visible(request);
      if (range === undefined) answerAsync(reply, () => rangeOverShards(context, call, request, []));
      else if (context.longRanges.mustWait(call, request, range))
        after(call.longTurn!(), () => {
          attempt(reply, () => route(context, call, request, bytes, range, reply));
        });
      else route(context, call, request, bytes, range, reply);
    });
}

/** Chooses the shards for a Range. `range` is its visible part. */
function route(
  context: KvContext,
  call: Call,
  request: RangeRequest,
  bytes: Uint8Array,
  range: KeyRange,
  reply: Reply,
): void {
  const { router, places } = context;
  const { position } = places;
  if (range.rangeEnd.length === 0) {
    const shard = router.shardOf(range.key);
    new ShardRange(context, call, request, bytes, range, shard, position, reply).begin();
    return;
  }
  const shards = router.shardsOf(range.key, range.rangeEnd);
  const only = shards.length === 1 ? shards[0] : undefined;
  if (only !== undefined) {
    new ShardRange(context, call, request, bytes, range, only, position, reply).begin();
  } else if (shards.length > 1 && isScan(request)) {
    answerAsync(reply, () =>
      scan(context, { call, request, range, shards, position, partKeys: partKeysFor(call) }),
    );
  } else {
    answerAsync(reply, () => rangeOverShards(context, call, request, shards));
  }
}

/** One call of KV.Range on one shard. Each step replies, or leads to the next one. */
class ShardRange {
  /** Whether it is read in parts, should it be long. */
  private readonly inParts: boolean;

  constructor(
    private readonly context: KvContext,
    private readonly call: Call,
    private readonly request: RangeRequest,
    /** The client's encoded request. */
    private readonly bytes: Uint8Array,
    /** The part of the range that clients can see. The request itself when that is all of it. */
    private readonly range: KeyRange,
    private readonly shard: number,
    /** `Places.position` when the shard was chosen. */
    private readonly position: number,
    private readonly reply: Reply,
  ) {
    this.inParts =
      range.rangeEnd.length > 0 && mayBeLong(request, PART_KEYS) && partKeysFor(call) !== undefined;
  }

  begin(): void {
    const { timeline } = this.context;
    if (rangeHorizon(this.request) <= timeline.head) {
      this.send();
      return;
    }
    after(timeline.sync(), (error) => {
      if (error !== undefined) this.reply(error);
      else attempt(this.reply, () => this.send());
    });
  }

  private send(): void {
    const { context, call, request, range } = this;
    const { timeline, places } = context;
    checkReadable(request.revision, timeline);
    if (places.position !== this.position) {
      this.routeAgain();
      return;
    }
    // A linearizable read of the newest state goes to the shard that holds the range now.
    const at =
      request.revision > 0
        ? request.revision
        : request.serializable
          ? timeline.head
          : Number.POSITIVE_INFINITY;
    if (needsHolders(context, request, range, at)) {
      answerAsync(this.reply, () => rangeOverShards(context, call, request, [this.shard]));
      return;
    }
    if (at === Number.POSITIVE_INFINITY && places.isFrozen(range)) {
      places.whenThawed(call, range, (error) => {
        if (error !== undefined) this.reply(error);
        else attempt(this.reply, () => this.routeAgain());
      });
      return;
    }
    const verbatim =
      !this.inParts &&
      range === request &&
      request.rangeEnd !== GIVEN_EMPTY &&
      request.revision <= 0 &&
      !hasBounds(request);
    const payload = verbatim ? this.bytes : this.encode(0);
    if (request.serializable) this.readStale(payload);
    // Not for a negative revision: it means the newest one in a Range, but not in a transaction.
    else if (range.rangeEnd.length === 0 && request.revision === 0) this.readPoint(payload);
    else this.readNewest(payload);
  }

  private routeAgain(): void {
    const { context, call, request, bytes, range, reply } = this;
    route(context, call, request, bytes, range, reply);
  }

  private readPoint(payload: Uint8Array): void {
    this.context
      .pointReadsOf(this.shard)
      .read(this.call, payload, (error, response, from, to, shardRevision) => {
        if (error !== undefined) this.reply(error);
        else this.answer(shardRevision, response, from, to);
      });
  }

  private readNewest(payload: Uint8Array): void {
    const { timeline } = this.context;
    const end = timeline.beginRead(this.shard);
    this.ask(payload, "read", (response) => {
      const revision = peekRevision(response);
      timeline.whenRead(this.shard, revision, end, (unsealed) => {
        if (unsealed !== undefined) this.reply(unsealed);
        else this.answerAndRelease(revision, response);
      });
    });
  }

  private readStale(payload: Uint8Array): void {
    const { timeline } = this.context;
    this.ask(payload, "stale read", (response) => {
      const revision = peekRevision(response);
      if (this.isTooOld(revision)) {
        this.readLinearizably();
        return;
      }
      timeline.whenRead(this.shard, revision, FOLDED, (unsealed) => {
        if (unsealed !== undefined) attempt(this.reply, () => this.readAtCut());
        else this.answerAndRelease(revision, response);
      });
    });
  }

  /**
   * Answers a serializable read from the newest sealed state. Used when the shard is ahead of the timeline and the timeline
   * host cannot be reached.
   */
  private readAtCut(): void {
    const { timeline } = this.context;
    const cut = readAt(timeline.head, timeline, this.shard);
    this.ask(this.encode(cut), "stale read", (response) => this.answerAndRelease(cut, response));
  }

  private readLinearizably(): void {
    const { context, call, bytes, range, reply } = this;
    route(context, call, { ...this.request, serializable: false }, bytes, range, reply);
  }

  /**
   * True when a lagging member has answered from a state before the newest compaction. The timeline no longer knows the
   * revisions of such states.
   */
  private isTooOld(revision: number): boolean {
    const { timeline } = this.context;
    return timeline.compactRevision > 0 && revision < timeline.lastAt(timeline.compactRevision, this.shard);
  }

  /** Sends a request to the shard, and goes on with `next`. Replies with an error, also with one that `next` throws. */
  private ask(payload: Uint8Array, kind: CallKind, next: (response: Uint8Array) => void): void {
    const options = callOptions(this.call, kind, this.context.limits);
    ask(this.call, this.context.shardAt(this.shard), KV.Range, payload, options, (error, response) => {
      if (error !== undefined) this.reply(error);
      else attempt(this.reply, () => next(response));
    });
  }

  /** The request for the shard, at the client's revision if it has one, else at shard revision `at` (0: the newest). */
  private encode(at: number): Uint8Array {
    const { request, range, shard } = this;
    const { timeline } = this.context;
    const shardRevision = request.revision > 0 ? readAt(request.revision, timeline, shard) : at;
    const translated = translateRange(request, shardRevision, timeline, shard);
    const { key, rangeEnd } = range;
    if (!this.inParts) return RangeRequest.encode({ ...translated, key, rangeEnd });
    return RangeRequest.encode({ ...shardRequest(translated), key, rangeEnd, limit: PART_KEYS });
  }

  private answerAndRelease(shardRevision: number, response: Uint8Array): void {
    attempt(this.reply, () => {
      if (this.inParts && response.length >= MIN_LONG_BYTES && peekMore(response)) {
        answerAsync(this.reply, () => this.answerInParts(shardRevision, response));
        return;
      }
      this.answer(shardRevision, response, 0, response.length);
      release(response);
    });
  }

  /** Replies with the RangeResponse between `from` and `to` of `response`, unless its keys have moved meanwhile. */
  private answer(shardRevision: number, response: Uint8Array, from: number, to: number): void {
    const { context, shard } = this;
    const revision = context.timeline.readRevision(shard, shardRevision);
    if (!this.isValid(shardRevision, revision)) {
      attempt(this.reply, () => this.readAgain());
      return;
    }
    answer(this.reply, () => {
      checkKept(this.request.revision, context.timeline);
      const header = context.identity.header(revision);
      return rewriteRange(response, header, context.revisionsOf(shard), lendUntilSent, from, to);
    });
  }

  /** Replies with the whole range. `first` is its first part, read at `shardRevision`. */
  private async answerInParts(shardRevision: number, first: Uint8Array): Promise<Uint8Array> {
    const { context, call, request, range, shard, position } = this;
    const revision = context.timeline.readRevision(shard, shardRevision);
    const scan = { call, request, range, shards: [shard], position, partKeys: PART_KEYS };
    const isPast = request.revision > 0;
    if (this.isValid(shardRevision, revision)) {
      const at = isPast ? request.revision : revision;
      const header = context.identity.header(revision);
      try {
        return await mergeAll(context, scan, at, header, !isPast, [{ shard, response: first }]);
      } catch (reason) {
        if (!(reason instanceof SnapshotGone)) throw reason;
      }
    }
    return scanAtHead(context, { ...scan, partKeys: undefined });
  }

  /** True when the shard's state at `shardRevision` is that of the range at `revision`. */
  private isValid(shardRevision: number, revision: number): boolean {
    const { places, timeline } = this.context;
    // The timeline may have forgotten revisions that the response names.
    if (revision < timeline.prunedAt) return false;
    if (this.position !== places.position) {
      // Imports may have changed the shard's revisions of the keys.
      if (places.hasImports(this.shard) && ordersNumbers(this.request)) return false;
      return places.mayAnswer(this.position, this.range, this.shard, shardRevision, revision);
    }
    // A lagging member may have answered from a state before the keys were moved.
    return !this.request.serializable || revision >= places.calmFrom;
  }

  private readAgain(): void {
    if (this.position === this.context.places.position) this.readLinearizably();
    else this.routeAgain();
  }
}

/** Answers a Range that `scan` cannot: the keys of several shards have to be sorted, or the range is empty. */
async function rangeOverShards(
  context: KvContext,
  call: Call,
  request: RangeRequest,
  shards: readonly number[],
): Promise<Uint8Array> {
  const { timeline, identity, places } = context;
  // An empty range concerns no shard, so one has to judge the client explicitly.
  if (shards.length === 0 && call.caller !== undefined) await mayRead(context.shards.first, call, request);
  const local = request.serializable && rangeHorizon(request) <= timeline.head;
  return atHead(context, call, local, request.revision > 0 ? [] : shards, async (head) => {
    checkReadable(request.revision, timeline);
    // A serializable read does not wait for keys that move.
    const newest = local ? places.decided([request], head) : head;
    const at = request.revision > 0 ? request.revision : newest;
    const response = await readSnapshot(context, call, request, at, newest);
    return Buffer.concat([identity.header(newest), RangeResponse.encode(response)]);
  });
}
