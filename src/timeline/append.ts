import * as tags from "../wire/generated/tags.js";
import { TxnRequest } from "../wire/messages.js";
import { Reader } from "../wire/reader.js";
import { int64Size, putInt64 } from "../wire/varint.js";
import type { Committed } from "./host.js";
import { BASE_KEY, TAIL_KEY } from "./keys.js";

const { success: SUCCESS } = tags.TxnRequest;
const { requestPut: REQUEST_PUT } = tags.RequestOp;
const { key: KEY, value: VALUE } = tags.PutRequest;
const { header: HEADER, succeeded: SUCCEEDED, responses: RESPONSES } = tags.TxnResponse;
const { revision: REVISION, raftTerm: RAFT_TERM } = tags.ResponseHeader;

/*
 * The transaction that appends an entry, and its response. Both are written out by hand, because every group of writes
 * waits for one. Other transactions on the log are rare.
 */

const TAIL = TxnRequest.encode({
  success: [{ kind: "put", request: { key: TAIL_KEY, prevKv: true } }],
});

/** Encodes appends. Each host has one. */
export class AppendEncoder {
  private guard = -1;
  /** The compare with `guard`, encoded. It changes only with the base. */
  private compare = TAIL;

  /** The transaction that puts `key` with the value `entry` (both ASCII), and the tail, if the base's mod revision is `guard`. */
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
    bytes[at++] = SUCCESS;
    at = putInt64(bytes, at, operation);
    bytes[at++] = REQUEST_PUT;
    at = putInt64(bytes, at, put);
    bytes[at++] = KEY;
    at = putInt64(bytes, at, key.length);
    at += bytes.write(key, at, "latin1");
    bytes[at++] = VALUE;
    at = putInt64(bytes, at, entry.length);
    at += bytes.write(entry, at, "latin1");
    bytes.set(TAIL, at);
    return bytes;
  }
}

/** Decodes the response to an append. Throws INVALID_ARGUMENT for bytes that are not a TxnResponse. */
export function decodeAppended(bytes: Uint8Array): Committed {
  const r = new Reader(bytes);
  let committed = false;
  let revision = 0;
  let raftTerm = 0;
  let previous = 0;
  while (r.more()) {
    const tag = r.tag();
    if (tag === HEADER) {
      const outer = r.enter();
      while (r.more()) {
        const inner = r.tag();
        if (inner === REVISION) revision = r.int64();
        else if (inner === RAFT_TERM) raftTerm = r.uint64();
        else r.skip(inner);
      }
      r.limit = outer;
    } else if (tag === SUCCEEDED) {
      committed = r.bool();
    } else if (tag === RESPONSES) {
      // The tail's put comes last.
      previous = readPrevious(r);
    } else {
      r.skip(tag);
    }
  }
  return { committed, revision, previous, raftTerm };
}

/** Tags on the way from a ResponseOp to the previous mod revision of its key. */
const PREVIOUS_PATH: readonly number[] = [
  tags.ResponseOp.responsePut,
  tags.PutResponse.prevKv,
  tags.KeyValue.modRevision,
];

/** Reads the number at the end of `PREVIOUS_PATH`, starting at `step`; 0 if it is absent. */
function readPrevious(r: Reader, step = 0): number {
  const outer = r.enter();
  let found = 0;
  while (r.more()) {
    const tag = r.tag();
    if (tag !== PREVIOUS_PATH[step]) r.skip(tag);
    else found = step + 1 < PREVIOUS_PATH.length ? readPrevious(r, step + 1) : r.int64();
  }
  r.limit = outer;
  return found;
}
