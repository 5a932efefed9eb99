import { describeShard } from "../shard/name.js";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import type { Runtime } from "../turn/runtime.js";
import { NO_KEY } from "../wire/keyRange.js";
import { WatchRequest, WatchResponse } from "../wire/messages.js";
import { KV, Watch } from "../wire/paths.js";
import { probeAt } from "../wire/probe.js";

/** Longest wait for etcd to cancel a watch from a compacted revision. etcd checks ten times a second. */
const CANCEL_TIMEOUT_MS = 5_000;

/** A watch of a key that is never written, so that it brings no events where it is not refused. */
const FROM_THE_BEGINNING = WatchRequest.encode({
  kind: "create",
  request: { key: NO_KEY, startRevision: 1 },
});

/** Whether a shard still has its state at `shardRevision` (1 or higher), and all events from there on. */
export async function isServed(shard: Shard, shardRevision: number): Promise<boolean> {
  try {
    await shard.call(KV.Range, probeAt(shardRevision), { idempotent: true });
    return true;
  } catch (reason) {
    if (etcd.futureRevision.is(reason)) return true;
    if (etcd.compacted.is(reason)) return false;
    throw reason;
  }
}

/**
 * Returns the shard revision at which a shard is compacted, by a proxy or by itself; 0 when it is not compacted. etcd
 * reports it only to watches that start below it.
 */
export async function compactedAt(shard: Shard, runtime: Runtime): Promise<number> {
  return (await isServed(shard, 1)) ? 0 : compactionByWatch(shard, runtime);
}

/** `compactedAt` for a shard that is known to be compacted. */
function compactionByWatch(shard: Shard, runtime: Runtime): Promise<number> {
  return new Promise((resolve, reject) => {
    const finish = (action: () => void) => {
      stopTimer();
      stream.cancel();
      action();
    };
    const stopTimer = runtime.timer(CANCEL_TIMEOUT_MS, () => {
      const text = `${describeShard(shard)} did not report at which revision it is compacted`;
      finish(() => reject(new StatusError(Code.UNAVAILABLE, text)));
    });
    const stream = shard.stream(Watch.Watch, {
      message: (message) => {
        const { canceled, compactRevision } = WatchResponse.decode(message);
        if (canceled) finish(() => resolve(compactRevision));
      },
      closed: (error) => {
        stopTimer();
        reject(error);
      },
    });
    stream.send(FROM_THE_BEGINNING);
  });
}
