// `!` keeps the hot loop free of checks: a byte beyond the end is undefined, and fails the comparison that follows.
import * as tags from "./generated/tags.js";
import { EMPTY, Reader } from "./reader.js";
import { int64Size, putInt64 } from "./varint.js";

const { success: SUCCESS } = tags.TxnRequest;
const { header: HEADER, succeeded: SUCCEEDED, responses: RESPONSES } = tags.TxnResponse;

/*
 * Guarded requests: transactions that carry out a client's request only if a compare holds. All parts are encoded, and the
 * client's bytes are copied once. `compare` and `failure` are encoded fields of a TxnRequest.
 */

/** Which request of a transaction's operation is guarded: its tag in a RequestOp. */
export const Guarded = {
  put: tags.RequestOp.requestPut,
  deleteRange: tags.RequestOp.requestDeleteRange,
  txn: tags.RequestOp.requestTxn,
} as const;

/** A transaction that carries out `request` if `compare` holds, and else `failure`. */
export function guard(
  kind: (typeof Guarded)[keyof typeof Guarded],
  request: Uint8Array,
  compare: Uint8Array,
  failure?: Uint8Array,
): Uint8Array {
  const { length } = request;
  const operation = 1 + int64Size(length) + length;
  const size = compare.length + 1 + int64Size(operation) + operation + (failure?.length ?? 0);
  const bytes = Buffer.allocUnsafe(size);
  bytes.set(compare);
  bytes[compare.length] = SUCCESS;
  let at = putInt64(bytes, compare.length + 1, operation);
  bytes[at] = kind;
  at = putInt64(bytes, at + 1, length);
  bytes.set(request, at);
  if (failure !== undefined) bytes.set(failure, at + length);
  return bytes;
}

/**
 * The response to the request in a guarded request, whose operation comes first, without its header if it has nothing else; undefined if the compare did
 * not hold. Throws INVALID_ARGUMENT for bytes that are no TxnResponse.
 */
export function guardedResponse(response: Uint8Array): Uint8Array | undefined {
  const from = plainResponse(response);
  if (from < 0) return searchResponse(response);
  const { length } = response;
  const isEmpty = from === length || (response[from] === HEADER && from + 2 + response[from + 1]! === length);
  return isEmpty ? EMPTY : response.subarray(from);
}

/**
 * Where the response begins in etcd's own form of the transaction's, in which it is the end; -1 for others. It works without a
 * reader, because it runs for every put.
 */
function plainResponse(bytes: Uint8Array): number {
  if (bytes[0] !== HEADER) return -1;
  const header = 2 + bytes[1]!;
  if (bytes[1]! >= 0x80 || bytes[header] !== SUCCEEDED || bytes[header + 1] !== 1) return -1;
  if (bytes[header + 2] !== RESPONSES) return -1;
  const operation = afterLength(bytes, header + 3);
  return operation < 0 ? -1 : afterLength(bytes, operation + 1);
}

/** The position after the length at `at`, if what has this length ends where the bytes end; else -1. */
function afterLength(bytes: Uint8Array, at: number): number {
  let length = 0;
  let weight = 1;
  for (let pos = at; pos < at + 5; weight *= 0x80) {
    const byte = bytes[pos++]!;
    length += (byte & 0x7f) * weight;
    if (byte < 0x80) return pos + length === bytes.length ? pos : -1;
  }
  return -1;
}

function searchResponse(response: Uint8Array): Uint8Array | undefined {
  const r = new Reader(response);
  let succeeded = false;
  let from = 0;
  let to = 0;
  while (r.more()) {
    const tag = r.tag();
    if (tag === SUCCEEDED) {
      succeeded = r.bool();
    } else if (tag === RESPONSES) {
      const outer = r.enter();
      if (from === 0) {
        // A ResponseOp has one field, which is the response.
        r.tag();
        const length = r.length();
        from = r.pos;
        to = from + length;
      }
      r.pos = r.limit;
      r.limit = outer;
    } else {
      r.skip(tag, 0, 3);
    }
  }
  return succeeded ? response.subarray(from, to) : undefined;
}

/** A response to a transaction whose failure branch has one more operation, taken apart. */
export interface Parted {
  /** The response without that of the last operation. */
  readonly rest: Uint8Array;
  /** The ResponseOp of the last operation. */
  readonly last: Uint8Array;
}

/** Takes the last operation's response from a TxnResponse; undefined if the transaction succeeded. */
export function partLast(response: Uint8Array): Parted | undefined {
  const r = new Reader(response);
  let begin = 0;
  let body = 0;
  let end = 0;
  while (r.more()) {
    const tag = r.tag();
    if (tag === SUCCEEDED) {
      if (r.bool()) return undefined;
    } else if (tag === RESPONSES) {
      begin = r.start;
      const length = r.length();
      body = r.pos;
      r.pos += length;
      end = r.pos;
    } else {
      r.skip(tag, 0, 3);
    }
  }
  const before = response.subarray(0, begin);
  const rest =
    end === response.length ? before : Buffer.concat([before, response.subarray(end, response.length)]);
  return { rest, last: response.subarray(body, end) };
}
