import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { RangeRequest, WatchRequest, WatchResponse } from "../wire/messages.js";
import { KV, Watch } from "../wire/paths.js";

/** How long etcd may take to refuse a watch that starts in what is compacted, ms; it looks ten times a second. */
const REFUSAL_MS = 5_000;
/** A key that nobody has, so that a watch which does start has nothing to say. */
const NOBODYS_KEY = Uint8Array.of(0);
const COMPACTED = etcd.compacted().message;
const FUTURE = etcd.futureRevision().message;

const FROM_THE_BEGINNING = WatchRequest.encode({
  kind: "create",
  request: { key: NOBODYS_KEY, startRevision: 1 },
});

/** Whether a shard still has its state at `shardRevision`, at least 1, and all events from there on. */
export async function isServed(shard: Shard, shardRevision: number): Promise<boolean> {
  try {
    const request = RangeRequest.encode({ key: NOBODYS_KEY, countOnly: true, revision: shardRevision });
    await shard.call(KV.Range, request, { idempotent: true });
    return true;
  } catch (reason) {
    const { message } = StatusError.from(reason);
    if (message === FUTURE) return true;
    if (message === COMPACTED) return false;
    throw reason;
  }
}

/**
 * The shard revision that a shard is compacted at, whether by a proxy or by itself; 0 when it is not compacted. etcd
 * reports it only to watches that start before it.
 */
export async function compactedAt(shard: Shard): Promise<number> {
  return (await isServed(shard, 1)) ? 0 : askByWatch(shard);
}

/** For a shard that is compacted. */
function askByWatch(shard: Shard): Promise<number> {
  return new Promise((resolve, reject) => {
    const finish = (action: () => void) => {
      clearTimeout(timer);
      stream.cancel();
      action();
    };
    const timer = setTimeout(() => {
      const text = `shard "${shard.name}" did not say at which revision it is compacted`;
      finish(() => reject(new StatusError(Code.UNAVAILABLE, text)));
    }, REFUSAL_MS);
    const stream = shard.stream(Watch.Watch, {
      message: (message) => {
        const { canceled, compactRevision } = WatchResponse.decode(message);
        if (canceled) finish(() => resolve(compactRevision));
      },
      closed: (error) => {
        clearTimeout(timer);
        reject(error);
      },
    });
    stream.send(FROM_THE_BEGINNING);
  });
}
