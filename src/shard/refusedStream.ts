import type { StatusError } from "../status/error.js";
import type { ShardStream, StreamEvents } from "./shard.js";

/** Returns a stream that fails with `error` at once, but not before the caller has it. */
export function refusedStream(error: StatusError, events: StreamEvents): ShardStream {
  let cancelled = false;
  process.nextTick(() => {
    if (!cancelled) events.closed(error);
  });
  return {
    send: () => {},
    pause: () => {},
    resume: () => {},
    cancel: () => {
      cancelled = true;
    },
  };
}
