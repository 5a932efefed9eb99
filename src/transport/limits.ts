import { Code, StatusError } from "../status/error.js";

/** Bytes of incomplete, waiting and running requests, over all connections. */
export const MAX_REQUEST_BYTES = 1024 * 1024 * 1024;
/** Bytes of responses and events that clients have not read, over all connections. */
export const MAX_UNREAD_BYTES = 1024 * 1024 * 1024;

/** Error for a message of `size` bytes, with the text of etcd's gRPC server. */
export function tooLarge(size: number, limit: number): StatusError {
  return new StatusError(
    Code.RESOURCE_EXHAUSTED,
    `grpc: received message larger than max (${size} vs. ${limit})`,
  );
}

/** Error for a client that does not read its responses. */
export function unread(): StatusError {
  return new StatusError(Code.RESOURCE_EXHAUSTED, "too many unread responses on this connection");
}
