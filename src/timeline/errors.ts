import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";

/** The error for calls that wait for a seal, after a failed append. */
export function unavailable(reason: StatusError): StatusError {
  const { code, message } = reason;
  if (code === Code.DATA_LOSS) return new StatusError(code, message);
  // Not etcd's own NOSPACE error, because the write itself took effect and is only not sealed.
  const text = etcd.noSpace.is(reason)
    ? `the timeline host takes no more entries until it has space again: ${message}`
    : `the timeline host cannot be reached: ${message.replace(/^etcd-braid: /, "")}`;
  return new StatusError(Code.UNAVAILABLE, `etcd-braid: ${text}`, { cause: reason });
}

/** The error for writes that were refused because the host is away. */
export function notWritten(host: string, reason: StatusError | undefined): StatusError {
  // Without the append's own "whether it took effect", which would seem to be about this write.
  const known = reason?.message.split("; whether ")[0]?.replace(/^etcd-braid: /, "");
  const why = known ?? `${host} is not connected`;
  const text = `etcd-braid: the timeline host cannot be reached: ${why}; nothing was written`;
  return new StatusError(Code.UNAVAILABLE, text, { cause: reason });
}

/** The error for an answer at a revision that the shard does not have a moment later. */
export function ranBack(shardRevision: number): StatusError {
  const text = `etcd-braid: the shard has responded at its revision ${shardRevision}, but its newest revision is lower`;
  return new StatusError(Code.DATA_LOSS, text);
}
