// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import { type KeyValue, ResponseHeader } from "./generated/codecs.js";
import * as tags from "./generated/tags.js";
import { type Patches, patches, patchKeyValue, type ToRevision } from "./patch.js";
import { Reader } from "./reader.js";
import { int64Size, putInt64 } from "./varint.js";

export type { ToRevision };

/** The first field of every response. */
const { header: HEADER } = tags.RangeResponse;
const {
  clusterId: CLUSTER_ID,
  memberId: MEMBER_ID,
  revision: REVISION,
  raftTerm: RAFT_TERM,
} = tags.ResponseHeader;
const { kvs: KVS, more: MORE, count: COUNT } = tags.RangeResponse;
const { prevKv: PREV_KV } = tags.PutResponse;
const { deleted: DELETED, prevKvs: PREV_KVS } = tags.DeleteRangeResponse;
const { succeeded: SUCCEEDED, responses: RESPONSES } = tags.TxnResponse;
const {
  responseRange: RANGE,
  responsePut: PUT,
  responseDeleteRange: DELETE_RANGE,
  responseTxn: TXN,
} = tags.ResponseOp;

/*
 * Rewrites a shard's responses into responses to clients, without decoding them into objects. `header` is always the new
 * header field as `encodeHeader` makes it. It replaces the response's header and comes first. All other fields keep their
 * order, including unknown ones. Bytes that are not such a response throw INVALID_ARGUMENT, as in `decode`.
 */

/** Encodes the header field of a response: tag, length and payload. */
export function encodeHeader(header: ResponseHeader): Uint8Array {
  const payload = ResponseHeader.encode(header);
  const field = new Uint8Array(1 + int64Size(payload.length) + payload.length);
  field[0] = HEADER;
  field.set(payload, putInt64(field, 1, payload.length));
  return field;
}

/** Decodes the header of any response. All fields are zero if it has none. */
export function peekHeader(response: Uint8Array): ResponseHeader {
  const r = new Reader(response);
  while (r.more()) {
    const tag = r.tag();
    if (tag === HEADER) return ResponseHeader.decode(r.data());
    r.skip(tag, 1);
  }
  return { clusterId: 0n, memberId: 0n, revision: 0, raftTerm: 0 };
}

/** Returns `header.revision` of any response; 0 if it has none. */
export function peekRevision(response: Uint8Array): number {
  const revision = leadingRevision(response);
  return revision >= 0 ? revision : searchRevision(response);
}

/**
 * `peekRevision` for responses in etcd's own form, with the header first and known fields only; -1 for others. It works
 * without a reader, because it runs for every response of a shard.
 */
function leadingRevision(response: Uint8Array): number {
  if (response.length < 2 || response[0] !== HEADER || response[1]! >= 0x80) return -1;
  const end = 2 + response[1]!;
  if (end > response.length) return -1;
  let revision = 0;
  let at = 2;
  while (at < end) {
    const tag = response[at++];
    if (tag !== CLUSTER_ID && tag !== MEMBER_ID && tag !== REVISION && tag !== RAFT_TERM) return -1;
    let value = 0;
    let weight = 1;
    let byte = 0x80;
    while (byte >= 0x80) {
      // A varint that exceeds the header, or is too long.
      if (at >= end || weight > MAX_WEIGHT) return -1;
      byte = response[at++]!;
      value += (byte & 0x7f) * weight;
      weight *= 0x80;
    }
    if (tag === REVISION) revision = value;
  }
  return revision < Number.MAX_SAFE_INTEGER ? revision : -1;
}

/** Weight of the tenth byte of a varint, which is the last. */
const MAX_WEIGHT = 2 ** 63;

function searchRevision(response: Uint8Array): number {
  const r = new Reader(response);
  let revision = 0;
  while (r.more()) {
    const tag = r.tag();
    if (tag !== HEADER) {
      r.skip(tag, 1);
      continue;
    }
    r.enter();
    while (r.more()) {
      const inner = r.tag();
      if (inner === REVISION) revision = r.int64();
      else r.skip(inner, 0, 3);
    }
    break;
  }
  return revision;
}

/** Returns `more` of a RangeResponse. */
export function peekMore(response: Uint8Array): boolean {
  const r = new Reader(response);
  while (r.more()) {
    const tag = r.tag();
    if (tag === MORE) return r.bool();
    r.skip(tag, 0);
  }
  return false;
}

/** Rewrites a RangeResponse, the bytes between `from` and `to` of `response`, with the revisions of its keys mapped. */
export function rewriteRange(
  response: Uint8Array,
  header: Uint8Array,
  map: ToRevision,
  allocate: Allocate = Buffer.allocUnsafe,
  from = 0,
  to = response.length,
): Uint8Array {
  const p = patches.reset();
  patchRange(new Reader(response, from, to), p, map);
  const result = allocate(header.length + p.size(from, to));
  result.set(header);
  p.apply(response, from, to, result, header.length);
  return result;
}

/** Rewrites a PutResponse with the revisions of the previous key mapped. */
export function rewritePut(response: Uint8Array, header: Uint8Array, map: ToRevision): Uint8Array {
  if (response.length === 0) return header;
  return rewrite(response, header, patchPut, map);
}

/** Rewrites a DeleteRangeResponse with the revisions of the previous keys mapped. */
export function rewriteDeleteRange(response: Uint8Array, header: Uint8Array, map: ToRevision): Uint8Array {
  return rewrite(response, header, patchDeleteRange, map);
}

/**
 * Rewrites a TxnResponse and the responses in it. `map` maps the revisions of keys. The headers of nested responses change
 * only in their revision, which `inner` maps (0 stays 0).
 */
export function rewriteTxn(
  response: Uint8Array,
  header: Uint8Array,
  map: ToRevision,
  inner: ToRevision,
): Uint8Array {
  return rewrite(response, header, patchTxn, map, inner);
}

/** Replaces the header of any response. */
export function replaceHeader(response: Uint8Array, header: Uint8Array): Uint8Array {
  return rewrite(response, header, patchOther, identity);
}

/** Translates the revisions and the version of a decoded key in place. */
export function translateKey(kv: KeyValue, map: ToRevision): void {
  if (map.versionOffset !== undefined && kv.version > 0) kv.version += map.versionOffset(kv.createRevision);
  kv.createRevision = map(kv.createRevision);
  kv.modRevision = map(kv.modRevision);
}

/** Whether a TxnResponse has a write, at any depth: a put, or a deletion of at least one key. */
export function txnWrote(response: Uint8Array): boolean {
  return wrote(new Reader(response));
}

/** Number of deleted keys in a DeleteRangeResponse. */
export function deletedCount(response: Uint8Array): number {
  return deleted(new Reader(response));
}

/**
 * Collects the changes to the fields up to the reader's limit. `headers` maps the revision in this response's header.
 * Without it, the header is dropped. `inner` is `headers` for the responses in a transaction.
 */
type Patch = (r: Reader, p: Patches, map: ToRevision, headers?: ToRevision, inner?: ToRevision) => void;

/** Returns a buffer of `length` bytes with arbitrary content. */
export type Allocate = (length: number) => Uint8Array;

function rewrite(
  response: Uint8Array,
  header: Uint8Array,
  patch: Patch,
  map: ToRevision,
  inner?: ToRevision,
): Uint8Array {
  const p = patches.reset();
  patch(new Reader(response), p, map, undefined, inner);
  const result = Buffer.allocUnsafe(header.length + p.size(0, response.length));
  result.set(header);
  p.apply(response, 0, response.length, result, header.length);
  return result;
}

const patchRange: Patch = (r, p, map, headers) => {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case HEADER:
        patchHeader(r, p, headers);
        break;
      case KVS:
        patchKeyValue(r, p, map);
        break;
      case MORE:
      case COUNT:
        r.int64();
        break;
      default:
        r.skip(tag, 4);
    }
  }
};

const patchPut: Patch = (r, p, map, headers) => {
  while (r.more()) {
    const tag = r.tag();
    if (tag === HEADER) patchHeader(r, p, headers);
    else if (tag === PREV_KV) patchKeyValue(r, p, map);
    else r.skip(tag, 2);
  }
};

const patchDeleteRange: Patch = (r, p, map, headers) => {
  while (r.more()) {
    const tag = r.tag();
    if (tag === HEADER) patchHeader(r, p, headers);
    else if (tag === DELETED) r.int64();
    else if (tag === PREV_KVS) patchKeyValue(r, p, map);
    else r.skip(tag, 3);
  }
};

const patchTxn: Patch = (r, p, map, headers, inner) => {
  r.descend();
  while (r.more()) {
    const tag = r.tag();
    if (tag === HEADER) patchHeader(r, p, headers);
    else if (tag === SUCCEEDED) r.int64();
    else if (tag === RESPONSES) patchNested(patchResponseOp, r, p, map, inner);
    else r.skip(tag, 3);
  }
  r.rise();
};

const patchResponseOp: Patch = (r, p, map, inner) => {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case RANGE:
        patchNested(patchRange, r, p, map, inner);
        break;
      case PUT:
        patchNested(patchPut, r, p, map, inner);
        break;
      case DELETE_RANGE:
        patchNested(patchDeleteRange, r, p, map, inner);
        break;
      case TXN:
        patchNested(patchTxn, r, p, map, inner);
        break;
      default:
        r.skip(tag, 4);
    }
  }
};

/** A response of any other type, of which only the header is known. */
const patchOther: Patch = (r, p) => {
  while (r.more()) {
    const tag = r.tag();
    if (tag === HEADER) patchHeader(r, p);
    else r.skip(tag, 1);
  }
};

/** Applies `patch` to a message field. `r` is after its tag. */
function patchNested(patch: Patch, r: Reader, p: Patches, map: ToRevision, inner?: ToRevision): void {
  const start = r.pos;
  const outer = r.enter();
  const nested = p.open(start, r.pos, r.limit - r.pos);
  patch(r, p, map, inner, inner);
  p.close(nested);
  r.limit = outer;
}

/** Collects the changes to a header field. `r` is after its tag. */
function patchHeader(r: Reader, p: Patches, headers?: ToRevision): void {
  const field = r.start;
  const start = r.pos;
  const outer = r.enter();
  const nested = headers === undefined ? 0 : p.open(start, r.pos, r.limit - r.pos);
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case CLUSTER_ID:
      case MEMBER_ID:
      case RAFT_TERM:
        r.int64();
        break;
      case REVISION: {
        const from = r.pos;
        const revision = r.int64();
        if (headers !== undefined && revision !== 0) p.varint(from, r.pos, headers(revision));
        break;
      }
      default:
        r.skip(tag, 4);
    }
  }
  if (headers === undefined) p.drop(field, r.pos);
  else p.close(nested);
  r.limit = outer;
}

function identity(revision: number): number {
  return revision;
}

/** `txnWrote` for the fields up to the reader's limit. */
function wrote(r: Reader): boolean {
  r.descend();
  let found = false;
  while (r.more() && !found) {
    const tag = r.tag();
    if (tag !== RESPONSES) {
      r.skip(tag, 0, 3);
      continue;
    }
    const outer = r.enter();
    while (r.more() && !found) {
      const op = r.tag();
      if (op === PUT) found = true;
      else if (op === DELETE_RANGE) found = r.message(deleted) > 0;
      else if (op === TXN) found = r.message(wrote);
      else r.skip(op);
    }
    r.limit = outer;
  }
  r.rise();
  return found;
}

/** `deletedCount` for the fields up to the reader's limit. */
function deleted(r: Reader): number {
  let count = 0;
  while (r.more()) {
    const tag = r.tag();
    if (tag === DELETED) count = r.int64();
    else r.skip(tag, 0, 2);
  }
  return count;
}
