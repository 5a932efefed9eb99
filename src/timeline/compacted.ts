import { describeShard } from "../shard/name.js";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import type { Runtime } from "../turn/runtime.js";
import { NO_KEY } from "../wire/keyRange.js";
import { WatchRequest, WatchResponse } from "../wire/messages.js";
import { KV, Watch } from "../wire/paths.js";
import { probeAt } from "../wire/probe.js";

/** How long etcd may take to refuse a watch that starts in what is compacted, ms; it looks ten times a second. */
const REFUSAL_MS = 5_000;

/** A watch of a key that nobody has: where it does start, it has nothing to say. */
const FROM_THE_BEGINNING = WatchRequest.encode({
  kind: "create",
  request: { key: NO_KEY, startRevision: 1 },
});

/** Whether a shard still has its state at `shardRevision`, at least 1, and all events from there on. */
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
 * The shard revision that a shard is compacted at, whether by a proxy or by itself; 0 when it is not compacted. etcd
 * reports it only to watches that start before it.
 */
export async function compactedAt(shard: Shard, runtime: Runtime): Promise<number> {
  return (await isServed(shard, 1)) ? 0 : askByWatch(shard, runtime);
}

/** For a shard that is compacted. */
function askByWatch(shard: Shard, runtime: Runtime): Promise<number> {
  return new Promise((resolve, reject) => {
    const finish = (action: () => void) => {
      stopTimer();
      stream.cancel();
      action();
    };
    const stopTimer = runtime.timer(REFUSAL_MS, () => {
      const text = `${describeShard(shard)} did not say at which revision it is compacted`;
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
