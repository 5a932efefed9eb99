import { TxnRequest } from "../wire/messages.js";
import { Reader } from "../wire/reader.js";
import { int64Size, putInt64 } from "../wire/varint.js";
import type { Committed } from "./host.js";
import { BASE_KEY, TAIL_KEY } from "./keys.js";

/*
 * The transaction that appends an entry, and its answer: read and written directly, because every group of writes waits for
 * one. Other transactions on the log are rare.
 */

const TAIL = TxnRequest.encode({
  success: [{ kind: "put", request: { key: TAIL_KEY, prevKv: true } }],
});

/** Encodes appends; one for each host. */
export class AppendEncoder {
  private guard = -1;
  /** The compare of `guard`, which stays the same until there is a new base. */
  private compare = TAIL;

  /** Puts `key` with the value `entry`, both ASCII, and the tail, if the base has the mod revision `guard`. */
  encode(guard: number, key: string, entry: string): Uint8Array {
    if (guard !== this.guard) {
      this.guard = guard;
      this.compare = TxnRequest.encode({
        compare: [{ target: 2, result: 0, key: BASE_KEY, modRevision: guard }],
      });
    }
    const { compare } = this;
    const put = 2 + int64Size(key.length) + key.length + int64Size(entry.length) + entry.length;
    const operation = 1 + int64Size(put) + put;
    const size = compare.length + 1 + int64Size(operation) + operation + TAIL.length;
    const bytes = Buffer.allocUnsafe(size);
    bytes.set(compare);
    let at = compare.length;
    // A RequestOp of the success branch, in it a PutRequest, in it key and value.
    bytes[at++] = 0x12;
    at = putInt64(bytes, at, operation);
    bytes[at++] = 0x12;
    at = putInt64(bytes, at, put);
    bytes[at++] = 0x0a;
    at = putInt64(bytes, at, key.length);
    at += bytes.write(key, at, "latin1");
    bytes[at++] = 0x12;
    at = putInt64(bytes, at, entry.length);
    at += bytes.write(entry, at, "latin1");
    bytes.set(TAIL, at);
    return bytes;
  }
}

/** The answer to an append. Throws INVALID_ARGUMENT for bytes that are no answer to a transaction. */
export function decodeAppended(bytes: Uint8Array): Committed {
  const r = new Reader(bytes);
  let committed = false;
  let revision = 0;
  let raftTerm = 0;
  let previous = 0;
  while (r.more()) {
    const tag = r.tag();
    if (tag === 0x0a) {
      const outer = r.enter();
      while (r.more()) {
        const inner = r.tag();
        if (inner === 0x18) revision = r.int64();
        else if (inner === 0x20) raftTerm = r.uint64();
        else r.skip(inner);
      }
      r.limit = outer;
    } else if (tag === 0x10) {
      committed = r.bool();
    } else if (tag === 0x1a) {
      // Of the two puts the tail's is the last one.
      previous = readPrevious(r, PREVIOUS_PATH);
    } else {
      r.skip(tag);
    }
  }
  return { committed, revision, previous, raftTerm };
}

/** ResponseOp → PutResponse → the KeyValue that was there before. */
const PREVIOUS_PATH = 2;

/** `modRevision` of the message that field 2 leads to through `depth` more messages; 0 if there is none. */
function readPrevious(r: Reader, depth: number): number {
  const outer = r.enter();
  let found = 0;
  while (r.more()) {
    const tag = r.tag();
    if (depth > 0 && tag === 0x12) found = readPrevious(r, depth - 1);
    else if (depth === 0 && tag === 0x18) found = r.int64();
    else r.skip(tag);
  }
  r.limit = outer;
  return found;
}
