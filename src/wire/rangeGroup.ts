import * as tags from "./generated/tags.js";
import { Reader } from "./reader.js";
import { int64Size, putInt64 } from "./varint.js";

/* Several Ranges as one transaction, which is a single request for etcd, and a consistent read. */

const { success: SUCCESS } = tags.TxnRequest;
const { requestRange: REQUEST_RANGE } = tags.RequestOp;
const { responses: RESPONSES } = tags.TxnResponse;
const { responseRange: RESPONSE_RANGE } = tags.ResponseOp;

/** Encodes a TxnRequest of `requests`, which are encoded RangeRequests. */
export function encodeRangeGroup(requests: readonly Uint8Array[]): Uint8Array {
  let size = 0;
  for (const { length } of requests) {
    const operation = 1 + int64Size(length) + length;
    size += 1 + int64Size(operation) + operation;
  }
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const request of requests) {
    const { length } = request;
    // A RequestOp of the success branch with the RangeRequest.
    bytes[at++] = SUCCESS;
    at = putInt64(bytes, at, 1 + int64Size(length) + length);
    bytes[at++] = REQUEST_RANGE;
    at = putInt64(bytes, at, length);
    bytes.set(request, at);
    at += length;
  }
  return bytes;
}

/**
 * Finds the RangeResponses in the response to such a transaction. Returns start and end of each, one after the other. Throws
 * INVALID_ARGUMENT for bytes that are not a TxnResponse.
 */
export function findRanges(response: Uint8Array): number[] {
  const bounds: number[] = [];
  const r = new Reader(response);
  while (r.more()) {
    const tag = r.tag();
    if (tag !== RESPONSES) {
      r.skip(tag, 0, 3);
      continue;
    }
    const outer = r.enter();
    while (r.more()) {
      const inner = r.tag();
      if (inner !== RESPONSE_RANGE) {
        r.skip(inner, 0, 4);
        continue;
      }
      const operation = r.enter();
      bounds.push(r.pos, r.limit);
      r.pos = r.limit;
      r.limit = operation;
    }
    r.limit = outer;
  }
  return bounds;
}
