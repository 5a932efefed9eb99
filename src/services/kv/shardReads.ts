import type { Call } from "../../rpc/call.js";
import { etcd } from "../../status/etcd.js";
import { RangeRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { askAsync, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";

/** The state at the requested revision was compacted, at least on this shard. */
export class SnapshotGone extends Error {
  constructor(readonly shard: number) {
    super();
  }
}

/**
 * Reads from a shard at one of its revisions, which `request` names, in its own revisions. Any member may answer, because the
 * state at a revision never changes. Rejects with `SnapshotGone` when that state was compacted and `retryable` is true.
 */
export async function readShard(
  context: KvContext,
  call: Call,
  request: RangeRequest,
  shard: number,
  retryable: boolean,
): Promise<Uint8Array> {
  const { limits } = context;
  const target = context.shardAt(shard);
  const read = (serializable: boolean) => {
    const bytes = RangeRequest.encode({ ...request, serializable });
    const options = callOptions(call, serializable ? "stale read" : "read", limits);
    return askAsync(call, target, KV.Range, bytes, options);
  };
  try {
    return await read(true).catch((reason) => {
      // The member lags behind the cut. A linearizable read waits until it has caught up.
      if (!etcd.futureRevision.is(reason)) throw reason;
      return read(false);
    });
  } catch (reason) {
    throw retryable && etcd.compacted.is(reason) ? new SnapshotGone(shard) : reason;
  }
}
