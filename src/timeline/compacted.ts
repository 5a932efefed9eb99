import type { Shard } from "../shard/shard.js";
import { WatchRequest, WatchResponse } from "../wire/messages.js";
import { Watch } from "../wire/paths.js";

/** How long etcd may take to tell that a watch starts in what is compacted, ms; it looks ten times a second. */
const PATIENCE = 1_500;
/** A key that nobody has, so that a watch which does start has nothing to say. */
const NOBODYS_KEY = Uint8Array.of(0);

const FROM_THE_BEGINNING = WatchRequest.encode({
  kind: "create",
  request: { key: NOBODYS_KEY, startRevision: 1 },
});

/**
 * The shard revision that a shard is compacted at, by whomever; 0 when it is not compacted. etcd tells it only to
 * watches that start before it. Rejects with the stream's error.
 */
export function compactedAt(shard: Shard): Promise<number> {
  return new Promise((resolve, reject) => {
    const finish = (action: () => void) => {
      clearTimeout(timer);
      stream.cancel();
      action();
    };
    const timer = setTimeout(() => finish(() => resolve(0)), PATIENCE);
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
