import type { Call } from "../../rpc/call.js";
import { etcd } from "../../status/etcd.js";
import { RangeRequest, RangeResponse } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { PROBE } from "../../wire/probe.js";
import { peekRevision, type ToRevision } from "../../wire/rewrite.js";
import { askAsync, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";
import { visible } from "./keyspace.js";
import { mergeParts, partRequest } from "./merge.js";
import { readAt, translateRange } from "./translate.js";
import type { ReadBudget } from "./txnReads.js";

/** Attempts to find a snapshot that is not compacted away while it is read. */
const ATTEMPTS = 5;

/** The state to be read was compacted, at least on this shard. */
export class SnapshotGone extends Error {
  constructor(readonly shard: number) {
    super();
  }
}

/**
 * Runs `read` on a revision that is the head at some moment of the call, or for a `serializable` read the head
 * that this proxy knows. `shards` are those that it reads there. Where a compaction overtakes `read`, it is run again
 * on a newer head.
 */
export async function atHead<T>(
  context: KvContext,
  call: Call,
  serializable: boolean,
  shards: readonly number[],
  read: (head: number) => Promise<T>,
): Promise<T> {
  const { timeline, unseen } = context;
  const sealed = unseen.seal(shards);
  for (let attempt = 1; ; attempt++) {
    if (!serializable || attempt > 1) await Promise.all([timeline.sync(), sealed]);
    try {
      return await read(timeline.head);
    } catch (reason) {
      if (!(reason instanceof SnapshotGone)) throw reason;
      if (attempt === ATTEMPTS) throw etcd.compacted();
      await bringUpToDate(context, call, reason.shard);
    }
  }
}

/**
 * Gives all that a shard holds its place in the timeline. A shard that was compacted past its entry in the head has
 * revisions that nobody has sealed (written past the proxies, or by one that died).
 */
async function bringUpToDate(context: KvContext, call: Call, shard: number): Promise<void> {
  const { timeline, shards, limits } = context;
  // For all, and nothing of it is told: not as the client, who need not be allowed to read this key.
  const options = { ...callOptions(call, "read", limits), caller: undefined };
  const response = await askAsync(call, shards[shard], KV.Range, PROBE, options);
  await timeline.seal(shard, peekRevision(response), false);
}

/**
 * A Range as of revision `at`, which is sealed, over all shards that it concerns; without header. `head` is the
 * head that `atHead` gave: a compacted read of it is one that another head can mend. `budget` bounds what is read.
 */
export async function readSnapshot(
  context: KvContext,
  call: Call,
  request: RangeRequest,
  at: number,
  head: number,
  budget?: ReadBudget,
): Promise<RangeResponse> {
  const extent = visible(request);
  if (extent === undefined) return mergeParts(request, []);
  const shards = context.router.shardsOf(extent.key, extent.rangeEnd);
  const part: RangeRequest = { ...partRequest(request), key: extent.key, rangeEnd: extent.rangeEnd };
  const responses = await Promise.all(
    shards.map((shard) => readPart(context, call, part, at, shard, at === head)),
  );
  for (const { length } of responses) budget?.spend(length);
  return mergeParts(
    request,
    responses.map((response, i) => decodePart(response, context.toRevision[shards[i]])),
  );
}

/**
 * One shard's answer to `part` as of revision `at`, in the shard's own revisions. Any member may answer, because the
 * state at a revision never changes. Throws `SnapshotGone` for a compacted one if `atHead` can mend that.
 */
export async function readPart(
  context: KvContext,
  call: Call,
  part: RangeRequest,
  at: number,
  shard: number,
  mendable: boolean,
): Promise<Uint8Array> {
  const { timeline, shards, limits } = context;
  const request = translateRange(part, readAt(at, timeline, shard), timeline, shard);
  const read = (serializable: boolean) => {
    const bytes = RangeRequest.encode({ ...request, serializable });
    const options = callOptions(call, serializable ? "stale read" : "read", limits);
    return askAsync(call, shards[shard], KV.Range, bytes, options);
  };
  try {
    return await read(true).catch((reason) => {
      // The member lags behind the cut; a linearizable read waits until it does not.
      if (!etcd.futureRevision.is(reason)) throw reason;
      return read(false);
    });
  } catch (reason) {
    throw mendable && etcd.compacted.is(reason) ? new SnapshotGone(shard) : reason;
  }
}

/** A shard's answer in clients' revisions. */
function decodePart(response: Uint8Array, toRevision: ToRevision): RangeResponse {
  const answer = RangeResponse.decode(response);
  for (const kv of answer.kvs) {
    kv.createRevision = toRevision(kv.createRevision);
    kv.modRevision = toRevision(kv.modRevision);
  }
  return answer;
}
