import type { Call } from "../../rpc/call.js";
import { etcd } from "../../status/etcd.js";
import { isServed } from "../../timeline/compacted.js";
import { type RangeRequest, RangeResponse } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { PROBE } from "../../wire/probe.js";
import { peekRevision, type ToRevision, translateKey } from "../../wire/rewrite.js";
import { askAsync, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";
import { needsHolders, readHolders } from "./holders.js";
import { visible } from "./keyspace.js";
import { mergeParts, partRequest } from "./merge.js";
import { readShard, SnapshotGone } from "./shardReads.js";
import { readAt, translateRange } from "./translate.js";
import type { ReadBudget } from "./txnReads.js";

/** Attempts to read a snapshot before it is compacted. */
const MAX_ATTEMPTS = 5;

/**
 * Runs `read` with a revision that is the head at some moment during the call. For a `serializable` read it is the head
 * that this proxy knows. `shards` are those that `read` will read at it. Where a compaction overtakes `read`, it runs
 * again with a newer head.
 */
export async function atHead<T>(
  context: KvContext,
  call: Call,
  serializable: boolean,
  shards: readonly number[],
  read: (head: number) => Promise<T>,
): Promise<T> {
  const { timeline, probes } = context;
  const sealed = probes.seal(shards);
  for (let attempt = 1; ; attempt++) {
    if (!serializable || attempt > 1) await Promise.all([timeline.sync(), sealed]);
    try {
      return await read(timeline.head);
    } catch (reason) {
      if (!(reason instanceof SnapshotGone)) throw reason;
      if (attempt === MAX_ATTEMPTS) throw etcd.compacted();
      await bringUpToDate(context, call, reason.shard);
    }
  }
}

/**
 * Seals the newest revision of a shard. A shard that was compacted above its entry in the head has revisions that are not
 * sealed: a client wrote past the proxies, or a proxy died.
 */
async function bringUpToDate(context: KvContext, call: Call, shard: number): Promise<void> {
  const { timeline, limits } = context;
  // As the proxy itself, because the client need not be allowed to read the probe's key. It learns nothing from it.
  const options = { ...callOptions(call, "read", limits), caller: undefined };
  const response = await askAsync(call, context.shardAt(shard), KV.Range, PROBE, options);
  await timeline.seal(shard, peekRevision(response), false);
}

/**
 * Reads a Range as of the sealed revision `at`, over all shards that it concerns. The response has no header. `head` is
 * what `atHead` passed: a read of it that fails as compacted may succeed at another head. `budget` bounds what is read.
 * Waits while keys of the range move and their state at `at` is not decided.
 */
export async function readSnapshot(
  context: KvContext,
  call: Call,
  request: RangeRequest,
  at: number,
  head: number,
  budget?: ReadBudget,
): Promise<RangeResponse> {
  const range = visible(request);
  const { key, rangeEnd } = range ?? request;
  const shards = range === undefined ? [] : context.router.shardsOf(key, rangeEnd);
  if (range === undefined || shards.length === 0) {
    if (at !== head) await checkServed(context, at);
    return mergeParts(request, []);
  }
  if (needsHolders(context, request, range, at)) {
    return readHolders(context, call, request, range, at, at === head, budget);
  }
  const part: RangeRequest = { ...partRequest(request), key, rangeEnd };
  const parts = await Promise.all(
    shards.map(async (shard) => {
      return { shard, response: await readPart(context, call, part, at, shard, at === head) };
    }),
  );
  for (const { response } of parts) budget?.spend(response.length);
  return mergeParts(
    request,
    parts.map(({ shard, response }) => decodePart(response, context.revisionsOf(shard))),
  );
}

/**
 * For a range that concerns no shard. In a sole store, no entry tells that another proxy has compacted the shard, so the shard has to
 * be asked. Throws `compacted`.
 */
async function checkServed({ timeline, shards }: KvContext, at: number): Promise<void> {
  if (!timeline.isSole) return;
  const shard = shards.first;
  if (!(await isServed(shard, readAt(at, timeline, shard.index)))) throw etcd.compacted();
}

/** One shard's response to `part` as of revision `at`, in the shard's own revisions; see `readShard`. */
export async function readPart(
  context: KvContext,
  call: Call,
  part: RangeRequest,
  at: number,
  shard: number,
  retryable: boolean,
): Promise<Uint8Array> {
  const { timeline } = context;
  const request = translateRange(part, readAt(at, timeline, shard), timeline, shard);
  const response = await readShard(context, call, request, shard, retryable);
  // The timeline may have forgotten revisions that the response names.
  if (at < timeline.prunedAt) throw retryable ? new SnapshotGone(shard) : etcd.compacted();
  return response;
}

/** A shard's response, with revisions and versions translated. */
function decodePart(response: Uint8Array, toRevision: ToRevision): RangeResponse {
  const answer = RangeResponse.decode(response);
  for (const kv of answer.kvs) translateKey(kv, toRevision);
  return answer;
}
