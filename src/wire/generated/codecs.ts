// Generated from proto/ by `npm run generate`. Edit proto/ instead.

import { codec, type Init, type MessageCodec } from "../codec.js";
import { EMPTY, type Reader } from "../reader.js";
import type { Writer } from "../writer.js";
import type { CompareResult, CompareTarget, EventType, SortOrder, SortTarget } from "./enums.js";

/** One version of a key. */
export interface KeyValue {
  key: Uint8Array;
  /** Revision of the key's last creation. */
  createRevision: number;
  /** Revision of the last change. */
  modRevision: number;
  /** Number of writes since the creation, 1 for the first; 0 for a deletion. */
  version: number;
  value: Uint8Array;
  /** Lease of the key; 0: no lease. */
  lease: bigint;
  unknown?: Uint8Array;
}

function readKeyValue(
  r: Reader,
  m: KeyValue = { key: EMPTY, createRevision: 0, modRevision: 0, version: 0, value: EMPTY, lease: 0n },
): KeyValue {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.key = r.data();
        break;
      case 0x10:
        m.createRevision = r.int64();
        break;
      case 0x18:
        m.modRevision = r.int64();
        break;
      case 0x20:
        m.version = r.int64();
        break;
      case 0x2a:
        m.value = r.data();
        break;
      case 0x30:
        m.lease = r.bigInt64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 6);
    }
  }
  return m;
}

function writeKeyValue(w: Writer, m: Init<KeyValue>): void {
  w.raw(m.unknown);
  w.big64(0x30, m.lease);
  w.data(0x2a, m.value);
  w.int64(0x20, m.version);
  w.int64(0x18, m.modRevision);
  w.int64(0x10, m.createRevision);
  w.data(0x0a, m.key);
}

export const KeyValue: MessageCodec<KeyValue> = codec(readKeyValue, writeKeyValue);

/** A change to a key. */
export interface Event {
  type: EventType;
  /** The key after the change; only key and mod revision for a deletion. */
  kv?: KeyValue;
  /** The key before the change, if it was requested and is not compacted. */
  prevKv?: KeyValue;
  unknown?: Uint8Array;
}

function readEvent(r: Reader, m: Event = { type: 0 }): Event {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.type = r.int32() as EventType;
        break;
      case 0x12:
        m.kv = r.message(readKeyValue, m.kv);
        break;
      case 0x1a:
        m.prevKv = r.message(readKeyValue, m.prevKv);
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeEvent(w: Writer, m: Init<Event>): void {
  w.raw(m.unknown);
  w.message(0x1a, writeKeyValue, m.prevKv);
  w.message(0x12, writeKeyValue, m.kv);
  w.int64(0x08, m.type);
}

export const Event: MessageCodec<Event> = codec(readEvent, writeEvent);

/** First field of every response: the member that answered, and the revision of its store. */
export interface ResponseHeader {
  clusterId: bigint;
  memberId: bigint;
  revision: number;
  raftTerm: number;
  unknown?: Uint8Array;
}

function readResponseHeader(
  r: Reader,
  m: ResponseHeader = { clusterId: 0n, memberId: 0n, revision: 0, raftTerm: 0 },
): ResponseHeader {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.clusterId = r.bigUint64();
        break;
      case 0x10:
        m.memberId = r.bigUint64();
        break;
      case 0x18:
        m.revision = r.int64();
        break;
      case 0x20:
        m.raftTerm = r.uint64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 4);
    }
  }
  return m;
}

function writeResponseHeader(w: Writer, m: Init<ResponseHeader>): void {
  w.raw(m.unknown);
  w.uint64(0x20, m.raftTerm);
  w.int64(0x18, m.revision);
  w.big64(0x10, m.memberId);
  w.big64(0x08, m.clusterId);
}

export const ResponseHeader: MessageCodec<ResponseHeader> = codec(readResponseHeader, writeResponseHeader);

/** Reads a key, or the keys from `key` up to, but not including, `rangeEnd`. */
export interface RangeRequest {
  key: Uint8Array;
  /** Empty: the single key. One zero byte: all keys from `key` on. */
  rangeEnd: Uint8Array;
  /** Most keys to return; 0: no limit. */
  limit: number;
  /** Revision to read at; 0 or less: the newest. */
  revision: number;
  sortOrder: SortOrder;
  sortTarget: SortTarget;
  /** Whether the answering member may return stale data. */
  serializable: boolean;
  keysOnly: boolean;
  countOnly: boolean;
  /** Inclusive bounds; 0: no bound. */
  minModRevision: number;
  maxModRevision: number;
  minCreateRevision: number;
  maxCreateRevision: number;
  unknown?: Uint8Array;
}

function readRangeRequest(
  r: Reader,
  m: RangeRequest = {
    key: EMPTY,
    rangeEnd: EMPTY,
    limit: 0,
    revision: 0,
    sortOrder: 0,
    sortTarget: 0,
    serializable: false,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
  },
): RangeRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.key = r.data();
        break;
      case 0x12:
        m.rangeEnd = r.rangeEnd();
        break;
      case 0x18:
        m.limit = r.int64();
        break;
      case 0x20:
        m.revision = r.int64();
        break;
      case 0x28:
        m.sortOrder = r.int32() as SortOrder;
        break;
      case 0x30:
        m.sortTarget = r.int32() as SortTarget;
        break;
      case 0x38:
        m.serializable = r.bool();
        break;
      case 0x40:
        m.keysOnly = r.bool();
        break;
      case 0x48:
        m.countOnly = r.bool();
        break;
      case 0x50:
        m.minModRevision = r.int64();
        break;
      case 0x58:
        m.maxModRevision = r.int64();
        break;
      case 0x60:
        m.minCreateRevision = r.int64();
        break;
      case 0x68:
        m.maxCreateRevision = r.int64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 13);
    }
  }
  return m;
}

function writeRangeRequest(w: Writer, m: Init<RangeRequest>): void {
  w.raw(m.unknown);
  w.int64(0x68, m.maxCreateRevision);
  w.int64(0x60, m.minCreateRevision);
  w.int64(0x58, m.maxModRevision);
  w.int64(0x50, m.minModRevision);
  w.bool(0x48, m.countOnly);
  w.bool(0x40, m.keysOnly);
  w.bool(0x38, m.serializable);
  w.int64(0x30, m.sortTarget);
  w.int64(0x28, m.sortOrder);
  w.int64(0x20, m.revision);
  w.int64(0x18, m.limit);
  w.data(0x12, m.rangeEnd);
  w.data(0x0a, m.key);
}

export const RangeRequest: MessageCodec<RangeRequest> = codec(readRangeRequest, writeRangeRequest);

/** Response to a Range. */
export interface RangeResponse {
  header?: ResponseHeader;
  kvs: KeyValue[];
  /** Whether there are more keys than the limit. */
  more: boolean;
  /** Number of keys in the range, regardless of limit and bounds. */
  count: number;
  unknown?: Uint8Array;
}

function readRangeResponse(r: Reader, m: RangeResponse = { kvs: [], more: false, count: 0 }): RangeResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readResponseHeader, m.header);
        break;
      case 0x12:
        m.kvs.push(r.message(readKeyValue));
        break;
      case 0x18:
        m.more = r.bool();
        break;
      case 0x20:
        m.count = r.int64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 4);
    }
  }
  return m;
}

function writeRangeResponse(w: Writer, m: Init<RangeResponse>): void {
  w.raw(m.unknown);
  w.int64(0x20, m.count);
  w.bool(0x18, m.more);
  w.messages(0x12, writeKeyValue, m.kvs);
  w.message(0x0a, writeResponseHeader, m.header);
}

export const RangeResponse: MessageCodec<RangeResponse> = codec(readRangeResponse, writeRangeResponse);

/** Writes one key. */
export interface PutRequest {
  key: Uint8Array;
  value: Uint8Array;
  /** 0: no lease. */
  lease: bigint;
  /** Whether to return the previous version of the key. */
  prevKv: boolean;
  /** Keep the current value. */
  ignoreValue: boolean;
  /** Keep the current lease. */
  ignoreLease: boolean;
  unknown?: Uint8Array;
}

function readPutRequest(
  r: Reader,
  m: PutRequest = {
    key: EMPTY,
    value: EMPTY,
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  },
): PutRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.key = r.data();
        break;
      case 0x12:
        m.value = r.data();
        break;
      case 0x18:
        m.lease = r.bigInt64();
        break;
      case 0x20:
        m.prevKv = r.bool();
        break;
      case 0x28:
        m.ignoreValue = r.bool();
        break;
      case 0x30:
        m.ignoreLease = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 6);
    }
  }
  return m;
}

function writePutRequest(w: Writer, m: Init<PutRequest>): void {
  w.raw(m.unknown);
  w.bool(0x30, m.ignoreLease);
  w.bool(0x28, m.ignoreValue);
  w.bool(0x20, m.prevKv);
  w.big64(0x18, m.lease);
  w.data(0x12, m.value);
  w.data(0x0a, m.key);
}

export const PutRequest: MessageCodec<PutRequest> = codec(readPutRequest, writePutRequest);

/** Response to a Put. */
export interface PutResponse {
  header?: ResponseHeader;
  prevKv?: KeyValue;
  unknown?: Uint8Array;
}

function readPutResponse(r: Reader, m: PutResponse = {}): PutResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readResponseHeader, m.header);
        break;
      case 0x12:
        m.prevKv = r.message(readKeyValue, m.prevKv);
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writePutResponse(w: Writer, m: Init<PutResponse>): void {
  w.raw(m.unknown);
  w.message(0x12, writeKeyValue, m.prevKv);
  w.message(0x0a, writeResponseHeader, m.header);
}

export const PutResponse: MessageCodec<PutResponse> = codec(readPutResponse, writePutResponse);

/** Deletes a key or a range, as in RangeRequest. */
export interface DeleteRangeRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  /** Whether to return the previous versions of the keys. */
  prevKv: boolean;
  unknown?: Uint8Array;
}

function readDeleteRangeRequest(
  r: Reader,
  m: DeleteRangeRequest = { key: EMPTY, rangeEnd: EMPTY, prevKv: false },
): DeleteRangeRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.key = r.data();
        break;
      case 0x12:
        m.rangeEnd = r.data();
        break;
      case 0x18:
        m.prevKv = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeDeleteRangeRequest(w: Writer, m: Init<DeleteRangeRequest>): void {
  w.raw(m.unknown);
  w.bool(0x18, m.prevKv);
  w.data(0x12, m.rangeEnd);
  w.data(0x0a, m.key);
}

export const DeleteRangeRequest: MessageCodec<DeleteRangeRequest> = codec(
  readDeleteRangeRequest,
  writeDeleteRangeRequest,
);

/** Response to a DeleteRange. */
export interface DeleteRangeResponse {
  header?: ResponseHeader;
  /** Number of deleted keys. */
  deleted: number;
  prevKvs: KeyValue[];
  unknown?: Uint8Array;
}

function readDeleteRangeResponse(
  r: Reader,
  m: DeleteRangeResponse = { deleted: 0, prevKvs: [] },
): DeleteRangeResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readResponseHeader, m.header);
        break;
      case 0x10:
        m.deleted = r.int64();
        break;
      case 0x1a:
        m.prevKvs.push(r.message(readKeyValue));
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeDeleteRangeResponse(w: Writer, m: Init<DeleteRangeResponse>): void {
  w.raw(m.unknown);
  w.messages(0x1a, writeKeyValue, m.prevKvs);
  w.int64(0x10, m.deleted);
  w.message(0x0a, writeResponseHeader, m.header);
}

export const DeleteRangeResponse: MessageCodec<DeleteRangeResponse> = codec(
  readDeleteRangeResponse,
  writeDeleteRangeResponse,
);

/** Runs `success` if all compares hold, otherwise `failure`, atomically at one revision. */
export interface TxnRequest {
  compare: Compare[];
  success: RequestOp[];
  failure: RequestOp[];
  unknown?: Uint8Array;
}

function readTxnRequest(r: Reader, m: TxnRequest = { compare: [], success: [], failure: [] }): TxnRequest {
  r.descend();
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.compare.push(r.message(readCompare));
        break;
      case 0x12:
        m.success.push(r.message(readRequestOp));
        break;
      case 0x1a:
        m.failure.push(r.message(readRequestOp));
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  r.rise();
  return m;
}

function writeTxnRequest(w: Writer, m: Init<TxnRequest>): void {
  w.raw(m.unknown);
  w.messages(0x1a, writeRequestOp, m.failure);
  w.messages(0x12, writeRequestOp, m.success);
  w.messages(0x0a, writeCompare, m.compare);
}

export const TxnRequest: MessageCodec<TxnRequest> = codec(readTxnRequest, writeTxnRequest);

/**
 * A condition on a key, or on every key of a range. The member of the oneof can be another one than `target`
 * names. etcd then compares with 0 or an empty value.
 */
export interface Compare {
  result: CompareResult;
  target: CompareTarget;
  key: Uint8Array;
  version?: number;
  createRevision?: number;
  modRevision?: number;
  value?: Uint8Array;
  lease?: bigint;
  /** As in RangeRequest. */
  rangeEnd: Uint8Array;
  unknown?: Uint8Array;
}

function readCompare(r: Reader, m: Compare = { result: 0, target: 0, key: EMPTY, rangeEnd: EMPTY }): Compare {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.result = r.int32() as CompareResult;
        break;
      case 0x10:
        m.target = r.int32() as CompareTarget;
        break;
      case 0x1a:
        m.key = r.data();
        break;
      case 0x20:
        clearCompare(m);
        m.version = r.int64();
        break;
      case 0x28:
        clearCompare(m);
        m.createRevision = r.int64();
        break;
      case 0x30:
        clearCompare(m);
        m.modRevision = r.int64();
        break;
      case 0x3a:
        clearCompare(m);
        m.value = r.data();
        break;
      case 0x40:
        clearCompare(m);
        m.lease = r.bigInt64();
        break;
      case 0x202:
        m.rangeEnd = r.rangeEnd();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 8, 64);
    }
  }
  return m;
}

/** Clears the oneof, because its last member replaces the others. */
function clearCompare(m: Compare): void {
  if (m.version !== undefined) delete m.version;
  if (m.createRevision !== undefined) delete m.createRevision;
  if (m.modRevision !== undefined) delete m.modRevision;
  if (m.value !== undefined) delete m.value;
  if (m.lease !== undefined) delete m.lease;
}

function writeCompare(w: Writer, m: Init<Compare>): void {
  w.raw(m.unknown);
  w.data(0x202, m.rangeEnd);
  if (m.lease !== undefined) w.big64Always(0x40, m.lease);
  if (m.value !== undefined) w.dataAlways(0x3a, m.value);
  if (m.modRevision !== undefined) w.int64Always(0x30, m.modRevision);
  if (m.createRevision !== undefined) w.int64Always(0x28, m.createRevision);
  if (m.version !== undefined) w.int64Always(0x20, m.version);
  w.data(0x1a, m.key);
  w.int64(0x10, m.target);
  w.int64(0x08, m.result);
}

export const Compare: MessageCodec<Compare> = codec(readCompare, writeCompare);

/** One operation of a transaction. etcd refuses or ignores an empty one. */
export type RequestOp =
  | { kind: "range"; request: RangeRequest; unknown?: Uint8Array }
  | { kind: "put"; request: PutRequest; unknown?: Uint8Array }
  | { kind: "deleteRange"; request: DeleteRangeRequest; unknown?: Uint8Array }
  | { kind: "txn"; request: TxnRequest; unknown?: Uint8Array }
  | { kind: "none"; unknown?: Uint8Array };

function readRequestOp(r: Reader): RequestOp {
  let m: RequestOp = { kind: "none" };
  let unknown: Uint8Array | undefined;
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m = { kind: "range", request: r.message(readRangeRequest) };
        break;
      case 0x12:
        m = { kind: "put", request: r.message(readPutRequest) };
        break;
      case 0x1a:
        m = { kind: "deleteRange", request: r.message(readDeleteRangeRequest) };
        break;
      case 0x22:
        m = { kind: "txn", request: r.message(readTxnRequest) };
        break;
      default:
        unknown = r.unknown(tag, unknown, 4);
    }
  }
  if (unknown !== undefined) m.unknown = unknown;
  return m;
}

function writeRequestOp(w: Writer, m: Init<RequestOp>): void {
  w.raw(m.unknown);
  switch (m.kind) {
    case "range":
      w.message(0x0a, writeRangeRequest, m.request ?? {});
      break;
    case "put":
      w.message(0x12, writePutRequest, m.request ?? {});
      break;
    case "deleteRange":
      w.message(0x1a, writeDeleteRangeRequest, m.request ?? {});
      break;
    case "txn":
      w.message(0x22, writeTxnRequest, m.request ?? {});
      break;
  }
}

export const RequestOp: MessageCodec<RequestOp> = codec(readRequestOp, writeRequestOp);

/** Response to a Txn. */
export interface TxnResponse {
  header?: ResponseHeader;
  /** Whether all compares held. */
  succeeded: boolean;
  /** One for each operation of the executed branch. */
  responses: ResponseOp[];
  unknown?: Uint8Array;
}

function readTxnResponse(r: Reader, m: TxnResponse = { succeeded: false, responses: [] }): TxnResponse {
  r.descend();
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readResponseHeader, m.header);
        break;
      case 0x10:
        m.succeeded = r.bool();
        break;
      case 0x1a:
        m.responses.push(r.message(readResponseOp));
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  r.rise();
  return m;
}

function writeTxnResponse(w: Writer, m: Init<TxnResponse>): void {
  w.raw(m.unknown);
  w.messages(0x1a, writeResponseOp, m.responses);
  w.bool(0x10, m.succeeded);
  w.message(0x0a, writeResponseHeader, m.header);
}

export const TxnResponse: MessageCodec<TxnResponse> = codec(readTxnResponse, writeTxnResponse);

/** Response to one operation of a transaction, of the same kind. */
export type ResponseOp =
  | { kind: "range"; response: RangeResponse; unknown?: Uint8Array }
  | { kind: "put"; response: PutResponse; unknown?: Uint8Array }
  | { kind: "deleteRange"; response: DeleteRangeResponse; unknown?: Uint8Array }
  | { kind: "txn"; response: TxnResponse; unknown?: Uint8Array }
  | { kind: "none"; unknown?: Uint8Array };

function readResponseOp(r: Reader): ResponseOp {
  let m: ResponseOp = { kind: "none" };
  let unknown: Uint8Array | undefined;
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m = { kind: "range", response: r.message(readRangeResponse) };
        break;
      case 0x12:
        m = { kind: "put", response: r.message(readPutResponse) };
        break;
      case 0x1a:
        m = { kind: "deleteRange", response: r.message(readDeleteRangeResponse) };
        break;
      case 0x22:
        m = { kind: "txn", response: r.message(readTxnResponse) };
        break;
      default:
        unknown = r.unknown(tag, unknown, 4);
    }
  }
  if (unknown !== undefined) m.unknown = unknown;
  return m;
}

function writeResponseOp(w: Writer, m: Init<ResponseOp>): void {
  w.raw(m.unknown);
  switch (m.kind) {
    case "range":
      w.message(0x0a, writeRangeResponse, m.response ?? {});
      break;
    case "put":
      w.message(0x12, writePutResponse, m.response ?? {});
      break;
    case "deleteRange":
      w.message(0x1a, writeDeleteRangeResponse, m.response ?? {});
      break;
    case "txn":
      w.message(0x22, writeTxnResponse, m.response ?? {});
      break;
  }
}

export const ResponseOp: MessageCodec<ResponseOp> = codec(readResponseOp, writeResponseOp);

/** Creates a watch on a key or a range, as in RangeRequest. */
export interface WatchCreateRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  /** First revision to watch; 0: from now on. */
  startRevision: number;
  /** Whether to send progress notifications while there are no events. */
  progressNotify: boolean;
  /** Values of `FilterType`; others have no effect. */
  filters: number[];
  /** Whether events have the previous version of the key. */
  prevKv: boolean;
  /** 0: the server chooses. */
  watchId: number;
  /** Whether the events of one revision may be split over several responses. */
  fragment: boolean;
  unknown?: Uint8Array;
}

function readWatchCreateRequest(
  r: Reader,
  m: WatchCreateRequest = {
    key: EMPTY,
    rangeEnd: EMPTY,
    startRevision: 0,
    progressNotify: false,
    filters: [],
    prevKv: false,
    watchId: 0,
    fragment: false,
  },
): WatchCreateRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.key = r.data();
        break;
      case 0x12:
        m.rangeEnd = r.data();
        break;
      case 0x18:
        m.startRevision = r.int64();
        break;
      case 0x20:
        m.progressNotify = r.bool();
        break;
      case 0x28:
        m.filters.push(r.int32());
        break;
      case 0x2a: {
        const outer = r.enter();
        while (r.more()) m.filters.push(r.int32());
        r.limit = outer;
        break;
      }
      case 0x30:
        m.prevKv = r.bool();
        break;
      case 0x38:
        m.watchId = r.int64();
        break;
      case 0x40:
        m.fragment = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 8);
    }
  }
  return m;
}

function writeWatchCreateRequest(w: Writer, m: Init<WatchCreateRequest>): void {
  w.raw(m.unknown);
  w.bool(0x40, m.fragment);
  w.int64(0x38, m.watchId);
  w.bool(0x30, m.prevKv);
  w.packed(0x2a, m.filters);
  w.bool(0x20, m.progressNotify);
  w.int64(0x18, m.startRevision);
  w.data(0x12, m.rangeEnd);
  w.data(0x0a, m.key);
}

export const WatchCreateRequest: MessageCodec<WatchCreateRequest> = codec(
  readWatchCreateRequest,
  writeWatchCreateRequest,
);

/** Events, and changes of the state of watches. */
export interface WatchResponse {
  header?: ResponseHeader;
  /** -1: no watch, or all watches of the stream. */
  watchId: number;
  created: boolean;
  canceled: boolean;
  /** Compaction revision, when the watch started below it. */
  compactRevision: number;
  cancelReason: string;
  /** Whether further responses follow with events of the same revision. */
  fragment: boolean;
  events: Event[];
  unknown?: Uint8Array;
}

function readWatchResponse(
  r: Reader,
  m: WatchResponse = {
    watchId: 0,
    created: false,
    canceled: false,
    compactRevision: 0,
    cancelReason: "",
    fragment: false,
    events: [],
  },
): WatchResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readResponseHeader, m.header);
        break;
      case 0x10:
        m.watchId = r.int64();
        break;
      case 0x18:
        m.created = r.bool();
        break;
      case 0x20:
        m.canceled = r.bool();
        break;
      case 0x28:
        m.compactRevision = r.int64();
        break;
      case 0x32:
        m.cancelReason = r.text();
        break;
      case 0x38:
        m.fragment = r.bool();
        break;
      case 0x5a:
        m.events.push(r.message(readEvent));
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 7, 11);
    }
  }
  return m;
}

function writeWatchResponse(w: Writer, m: Init<WatchResponse>): void {
  w.raw(m.unknown);
  w.messages(0x5a, writeEvent, m.events);
  w.bool(0x38, m.fragment);
  w.text(0x32, m.cancelReason);
  w.int64(0x28, m.compactRevision);
  w.bool(0x20, m.canceled);
  w.bool(0x18, m.created);
  w.int64(0x10, m.watchId);
  w.message(0x0a, writeResponseHeader, m.header);
}

export const WatchResponse: MessageCodec<WatchResponse> = codec(readWatchResponse, writeWatchResponse);
