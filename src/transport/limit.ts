import { Code, StatusError } from "../status/error.js";

/** Bytes of requests that have come in part, wait or are in progress, of all connections together. */
export const MAX_REQUEST_BYTES = 1024 * 1024 * 1024;
/** Bytes of answers and events that clients have not read, of all connections together. */
export const MAX_UNREAD_BYTES = 1024 * 1024 * 1024;

/** The answer of etcd's gRPC server to a message above its limit. */
export function tooLarge(size: number, limit: number): StatusError {
  return new StatusError(
    Code.RESOURCE_EXHAUSTED,
    `grpc: received message larger than max (${size} vs. ${limit})`,
  );
}

/** What a client gets that does not read the answers that it has. */
export function unread(): StatusError {
  return new StatusError(Code.RESOURCE_EXHAUSTED, "too many answers of this connection wait to be read");
}
