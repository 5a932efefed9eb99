import type { Call } from "../../rpc/call.js";
import { FOLDED, folded } from "../../timeline/ends.js";
import { lendUntilSent, release } from "../../turn/buffers.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { type Memory, RangeMerge } from "../../wire/merge.js";
import { RangeRequest, SortOrder, SortTarget } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { RangePart } from "../../wire/rangePart.js";
import { peekRevision } from "../../wire/rewrite.js";
import { askAsync, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";
import { atHead, readPart, SnapshotGone } from "./snapshot.js";
import { checkReadable, hasBounds, rangeHorizon } from "./translate.js";

/** A limit below this is asked of every shard: what they read too much costs less than asking twice. */
const SMALL_LIMIT = 64;

const MEMORY: Memory = { allocate: lendUntilSent, release };

/** A Range over several shards. */
export interface Scan {
  readonly call: Call;
  readonly request: RangeRequest;
  /** What of it clients can see. */
  readonly extent: KeyRange;
  /** At least two. */
  readonly shards: readonly number[];
}

/** Whether `scan` can answer a Range: its keys come in their own order, up or down. */
export function isScan(request: RangeRequest): boolean {
  return request.sortTarget === SortTarget.KEY || request.countOnly;
}

/** The answer to a Range over several shards for which `isScan` holds, put together from the bytes of the shards' answers. */
export async function scan(context: KvContext, scan: Scan): Promise<Uint8Array> {
  const { timeline, identity } = context;
  const { request, call, shards } = scan;
  const known = rangeHorizon(request) <= timeline.head;
  if (request.revision > 0 && known) return scanPast(context, scan);
  if (rangeHorizon(request) === 0 && !request.serializable && context.unrest.isOver) {
    const response = await scanNewest(context, scan);
    if (response !== undefined) return response;
  }
  const local = request.serializable && known;
  return atHead(context, call, local, request.revision > 0 ? [] : shards, async (head) => {
    checkReadable(request.revision, timeline);
    const at = request.revision > 0 ? request.revision : head;
    const merge = await mergeAll(
      context,
      scan,
      at,
      at === head,
      await readAll(context, scan, at, at === head),
    );
    return merge.finish(identity.header(head), MEMORY);
  });
}

/** As of a revision that the proxy knows: the shards are read while the timeline's end, for the header, is. */
async function scanPast(context: KvContext, scan: Scan): Promise<Uint8Array> {
  const { timeline, identity } = context;
  const { revision, serializable } = scan.request;
  checkReadable(revision, timeline);
  const [responses] = await Promise.all([
    readAll(context, scan, revision, false),
    serializable ? undefined : timeline.sync(),
  ]);
  checkReadable(revision, timeline);
  const merge = await mergeAll(context, scan, revision, false, responses);
  return merge.finish(identity.header(timeline.head), MEMORY);
}

/**
 * The newest state without a look at the timeline's end before: each shard is asked for its own newest state, as by a
 * range on one shard. When nobody writes meanwhile the answers are of one revision; a shard that is behind the others is
 * asked again. Undefined when that state was compacted meanwhile.
 *
 * The revision is at or after every write that was answered before the call, because each shard's state is, and the log's
 * end as it is read beside them; it is not after the end of the call, because all of it is sealed.
 */
async function scanNewest(context: KvContext, scan: Scan): Promise<Uint8Array | undefined> {
  const { timeline, identity, unseen, unrest, limits } = context;
  const { call, shards } = scan;
  const begun = performance.now();
  const bytes = RangeRequest.encode({ ...partOf(scan), revision: 0, serializable: false });
  const options = callOptions(call, "read", limits);
  const end = timeline.beginScan(shards);
  const responses = await Promise.all(
    shards.map((shard) => askAsync(call, context.shards[shard], KV.Range, bytes, options)),
  );
  const revisions = responses.map(peekRevision);
  if (shards.some((shard, i) => !timeline.isSealed(shard, revisions[i]))) {
    unrest.begin();
    await Promise.all(shards.map((shard, i) => timeline.seal(shard, revisions[i], false)));
  }
  if (end !== FOLDED) await folded(end);
  for (const shard of shards) unseen.sealed(shard, begun);
  const oldest = shards.map((shard, i) => timeline.toRevision(shard, revisions[i]));
  const newest = shards.map((shard, i) => timeline.readRevision(shard, revisions[i]));
  const needed = Math.max(...oldest);
  if (needed < timeline.compactRevision) return undefined;
  const at = Math.max(needed, Math.min(...newest));
  try {
    const behind = shards.flatMap((_, i) => (newest[i] < needed ? [i] : []));
    if (behind.length > 0) {
      unrest.begin();
      const part = partOf(scan);
      const again = await Promise.all(
        behind.map((i) => readPart(context, call, part, needed, shards[i], true)),
      );
      behind.forEach((i, n) => {
        responses[i] = again[n];
      });
    }
    const merge = await mergeAll(context, scan, at, true, responses);
    return merge.finish(identity.header(at), MEMORY);
  } catch (reason) {
    if (reason instanceof SnapshotGone) return undefined;
    throw reason;
  }
}

/** Every shard's answer as of revision `at`. */
function readAll(context: KvContext, scan: Scan, at: number, mendable: boolean): Promise<Uint8Array[]> {
  const part = partOf(scan);
  return Promise.all(scan.shards.map((shard) => readPart(context, scan.call, part, at, shard, mendable)));
}

/** Puts the shards' answers together, and asks those again whose share of a limit was too small; all as of revision `at`. */
async function mergeAll(
  context: KvContext,
  { call, request, extent, shards }: Scan,
  at: number,
  mendable: boolean,
  responses: readonly Uint8Array[],
): Promise<RangeMerge> {
  const { toRevision } = context;
  const limit = request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
  const merge = new RangeMerge(isDescending(request), commonLength(extent));
  shards.forEach((shard, i) => {
    const part = RangePart.of(responses[i], toRevision[shard], shard);
    merge.count += part.count;
    merge.add(part);
  });
  for (;;) {
    const dry = merge.take(limit);
    if (dry === undefined) return merge;
    const { shard } = dry;
    const rest = {
      ...shardRequest(request),
      key: Buffer.concat([dry.lastKey, AFTER]),
      rangeEnd: extent.rangeEnd,
      limit: limit - merge.keys,
    };
    const response = await readPart(context, call, rest, at, shard, mendable);
    merge.add(RangePart.of(response, toRevision[shard], shard));
  }
}

/** What every shard is asked first. */
function partOf({ request, extent, shards }: Scan): RangeRequest {
  const { key, rangeEnd } = extent;
  return { ...shardRequest(request), key, rangeEnd, limit: firstLimit(request, shards.length) };
}

/** The request with the order in which a shard reads its keys without sorting them, where that will do. */
function shardRequest(request: RangeRequest): RangeRequest {
  return isDescending(request) ? request : { ...request, sortOrder: SortOrder.NONE };
}

/**
 * Most shards hold their even share of the first keys, and some more for chance. Where etcd reads all keys before it
 * looks at the limit, nothing is gained by asking twice.
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

/** Bytes that all keys of an extent begin with. */
function commonLength({ key, rangeEnd }: KeyRange): number {
  let length = 0;
  while (length < key.length && key[length] === rangeEnd[length]) length++;
  return length;
}

const AFTER = Uint8Array.of(0);
