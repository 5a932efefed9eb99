import { Code, StatusError } from "../../status/error.js";

/** The answer of etcd's gRPC server to a message above its limit. */
export function tooLarge(size: number, limit: number): StatusError {
  return new StatusError(
    Code.RESOURCE_EXHAUSTED,
    `grpc: received message larger than max (${size} vs. ${limit})`,
  );
}
