import type { Call } from "../../rpc/call.js";
import { FOLDED, folded } from "../../timeline/logEnds.js";
import { lendUntilSent, release } from "../../turn/buffers.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { RangeRequest, RangeResponse, SortOrder, SortTarget } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { type Memory, RangeMerge } from "../../wire/rangeMerge.js";
import { RangePart } from "../../wire/rangePart.js";
import { peekRevision } from "../../wire/rewrite.js";
import { askAsync, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";
import { needsHolders } from "./holders.js";
import { finishInParts, mayBeLong } from "./longRange.js";
import { SnapshotGone } from "./shardReads.js";
import { atHead, readPart, readSnapshot } from "./snapshot.js";
import { checkReadable, hasBounds, rangeHorizon } from "./translate.js";

/** A limit below this goes to every shard. Reading too many keys costs less than a second request. */
const SMALL_LIMIT = 64;

const MEMORY: Memory = { allocate: lendUntilSent, release };

/** A Range, mostly over several shards. */
export interface Scan {
  readonly call: Call;
  readonly request: RangeRequest;
  /** The part of the range that clients can see. */
  readonly range: KeyRange;
  readonly shards: readonly number[];
  /** `Places.position` when they were chosen. */
  readonly position: number;
  /** Keys of a part, should it be long. Undefined: it is read at once. */
  readonly partKeys: number | undefined;
}

/** One shard's response to a part of a scan. */
export interface PartResponse {
  readonly shard: number;
  readonly response: Uint8Array;
}

/** Whether `scan` can answer a Range: its keys come in key order, ascending or descending. */
export function isScan(request: RangeRequest): boolean {
  return request.sortTarget === SortTarget.KEY || request.countOnly;
}

/** Answers a Range over several shards for which `isScan` holds. Merges the encoded responses of the shards. */
export async function scan(context: KvContext, scan: Scan): Promise<Uint8Array> {
  const { timeline, places } = context;
  const { request, range, position } = scan;
  const known = rangeHorizon(request) <= timeline.head;
  const isMoved = (at: number) => places.position !== position || needsHolders(context, request, range, at);
  if (request.revision > 0 && known && !isMoved(request.revision)) return scanPast(context, scan);
  const isNewest = rangeHorizon(request) === 0 && !request.serializable;
  if (isNewest && !context.recentWrites.any && !isMoved(timeline.head)) {
    const response = await scanNewest(context, scan);
    if (response !== undefined) return response;
    return scanAtHead(context, { ...scan, partKeys: undefined });
  }
  return scanAtHead(context, scan);
}

/** Reads at the timeline's end, or at the request's revision. If a compaction overtakes that, it is no longer read in parts. */
export async function scanAtHead(context: KvContext, given: Scan): Promise<Uint8Array> {
  const { timeline, identity, places } = context;
  const { request, call, range, shards, position } = given;
  const isMoved = (at: number) => places.position !== position || needsHolders(context, request, range, at);
  const local = request.serializable && rangeHorizon(request) <= timeline.head;
  let scan = given;
  return atHead(context, call, local, request.revision > 0 ? [] : shards, async (head) => {
    checkReadable(request.revision, timeline);
    const newest = local ? places.decided([range], head) : head;
    const at = request.revision > 0 ? request.revision : newest;
    if (isMoved(at)) {
      const response = await readSnapshot(context, call, request, at, newest);
      return Buffer.concat([identity.header(newest), RangeResponse.encode(response)]);
    }
    try {
      const parts = await readAll(context, scan, at, at === head);
      return await mergeAll(context, scan, at, identity.header(head), at === head, parts);
    } catch (reason) {
      if (reason instanceof SnapshotGone) scan = { ...scan, partKeys: undefined };
      throw reason;
    }
  });
}

/** Reads at a revision that the proxy knows. The timeline's end, for the header, is read at the same time. */
async function scanPast(context: KvContext, scan: Scan): Promise<Uint8Array> {
  const { timeline, identity } = context;
  const { revision, serializable } = scan.request;
  checkReadable(revision, timeline);
  const [parts] = await Promise.all([
    readAll(context, scan, revision, false),
    serializable ? undefined : timeline.sync(),
  ]);
  checkReadable(revision, timeline);
  return mergeAll(context, scan, revision, identity.header(timeline.head), false, parts);
}

/**
 * Reads the newest state without reading the timeline's end first: each shard reads its own newest state, as for a range
 * on one shard. Without concurrent writes these states meet at one revision. A shard that is behind the others is read
 * again. Resolves to undefined when the state was compacted meanwhile, or keys have moved.
 *
 * The revision covers every write that was answered before the call, because each shard's state and the log's end, which
 * is read at the same time, do. It is not after the end of the call, because all of it is sealed.
 */
async function scanNewest(context: KvContext, scan: Scan): Promise<Uint8Array | undefined> {
  const { timeline, identity, places, probes, recentWrites, limits } = context;
  const { call, shards, position } = scan;
  const begun = performance.now();
  const bytes = RangeRequest.encode({ ...partOf(scan), revision: 0, serializable: false });
  const options = callOptions(call, "read", limits);
  const end = timeline.beginScan(shards);
  const reads = await Promise.all(
    shards.map(async (shard) => {
      const response = await askAsync(call, context.shardAt(shard), KV.Range, bytes, options);
      return { shard, response, revision: peekRevision(response) };
    }),
  );
  if (reads.some(({ shard, revision }) => !timeline.isSealed(shard, revision))) {
    recentWrites.note();
    await Promise.all(reads.map(({ shard, revision }) => timeline.seal(shard, revision, false)));
  }
  if (end !== FOLDED) await folded(end);
  if (places.position !== position) return undefined;
  for (const shard of shards) probes.sealed(shard, begun);
  // Each shard's state holds from its oldest to its newest revision.
  const states = reads.map(({ shard, response, revision }) => ({
    shard,
    response,
    oldest: timeline.toRevision(shard, revision),
    newest: timeline.readRevision(shard, revision),
  }));
  const needed = Math.max(...states.map(({ oldest }) => oldest));
  if (needed < timeline.compactRevision) return undefined;
  const at = Math.max(needed, Math.min(...states.map(({ newest }) => newest)));
  try {
    if (states.some(({ newest }) => newest < needed)) recentWrites.note();
    const part = partOf(scan);
    const parts = await Promise.all(
      states.map(async ({ shard, response, newest }) => {
        if (newest >= needed) return { shard, response };
        return { shard, response: await readPart(context, call, part, needed, shard, true) };
      }),
    );
    return await mergeAll(context, scan, at, identity.header(at), true, parts);
  } catch (reason) {
    if (reason instanceof SnapshotGone) return undefined;
    throw reason;
  }
}

/** Reads every shard as of revision `at`. For `retryable`, see `readPart`. */
function readAll(context: KvContext, scan: Scan, at: number, retryable: boolean): Promise<PartResponse[]> {
  const part = partOf(scan);
  return Promise.all(
    scan.shards.map(async (shard) => {
      return { shard, response: await readPart(context, scan.call, part, at, shard, retryable) };
    }),
  );
}

/**
 * Merges the shards' responses to a response with the header field `header`. Reads more from a shard whose share of a limit was too
 * small, and the rest of a long range. All as of revision `at`.
 */
export async function mergeAll(
  context: KvContext,
  scan: Scan,
  at: number,
  header: Uint8Array,
  retryable: boolean,
  responses: readonly PartResponse[],
): Promise<Uint8Array> {
  const { call, request, range } = scan;
  const limit = request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
  const merge = new RangeMerge(isDescending(request), commonLength(range));
  const parts = responses.map(({ shard, response }) =>
    RangePart.of(response, context.revisionsOf(shard), shard),
  );
  for (const part of parts) {
    merge.count += part.count;
    merge.add(part);
  }
  const read = async (shard: number, part: Pick<RangeRequest, "key" | "rangeEnd" | "limit">) => {
    const rest = { ...shardRequest(request), ...part };
    const response = await readPart(context, call, rest, at, shard, retryable);
    return RangePart.of(response, context.revisionsOf(shard), shard);
  };
  const partKeys = partKeysOf(scan);
  if (partKeys !== undefined && parts.some(({ more }) => more)) {
    context.longRanges.note(range);
    await context.longRanges.turnOf(
      call,
      parts.reduce((sum, { length }) => sum + length, 0),
    );
    return finishInParts({ range, limit, merge, firstParts: parts, partKeys, read }, header, MEMORY);
  }
  for (;;) {
    const dry = merge.take(limit);
    if (dry === undefined) return merge.finish(header, MEMORY);
    const key = Buffer.concat([dry.key(dry.keys - 1), AFTER]);
    merge.add(await read(dry.shard, { key, rangeEnd: range.rangeEnd, limit: limit - merge.keys }));
  }
}

/** Keys of a part of this scan; undefined if it is read at once. */
function partKeysOf({ partKeys, request }: Scan): number | undefined {
  return partKeys !== undefined && mayBeLong(request, partKeys) ? partKeys : undefined;
}

/** The first request for every shard. */
function partOf(scan: Scan): RangeRequest {
  const { request, range, shards } = scan;
  const { key, rangeEnd } = range;
  const limit = partKeysOf(scan) ?? firstLimit(request, shards.length);
  return { ...shardRequest(request), key, rangeEnd, limit };
}

/** The request, without a sort order where a shard reads its keys in that order anyway. */
export function shardRequest(request: RangeRequest): RangeRequest {
  return isDescending(request) ? request : { ...request, sortOrder: SortOrder.NONE };
}

/**
 * Limit of the first request to each shard: an even share of the limit, plus a margin for chance. Where etcd reads all keys
 * before it applies the limit, a second request would gain nothing, so each shard gets the whole limit.
 */
function firstLimit(request: RangeRequest, shards: number): number {
  const { limit } = request;
  if (limit <= 0) return 0;
  if (limit < SMALL_LIMIT || isDescending(request) || hasBounds(request)) return limit;
  return Math.min(limit, Math.ceil((limit / shards) * 1.2) + 16);
}

function isDescending(request: RangeRequest): boolean {
  return request.sortOrder === SortOrder.DESCEND;
}

/** Number of leading bytes that all keys of a range share. */
function commonLength({ key, rangeEnd }: KeyRange): number {
  let length = 0;
  while (length < key.length && key[length] === rangeEnd[length]) length++;
  return length;
}

const AFTER = Uint8Array.of(0);
