import { type Codec, codec, type Init } from "./codec.js";
import { type ResponseHeader, readHeader, writeHeader } from "./header.js";
import {
  type DeleteRangeRequest,
  type DeleteRangeResponse,
  type PutRequest,
  type PutResponse,
  type RangeRequest,
  type RangeResponse,
  readDeleteRangeRequest,
  readDeleteRangeResponse,
  readPutRequest,
  readPutResponse,
  readRangeRequest,
  readRangeResponse,
  writeDeleteRangeRequest,
  writeDeleteRangeResponse,
  writePutRequest,
  writePutResponse,
  writeRangeRequest,
  writeRangeResponse,
} from "./kv.js";
import { EMPTY, type Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** How the stored value must relate to the given one: stored `result` given. */
export const CompareResult = { EQUAL: 0, GREATER: 1, LESS: 2, NOT_EQUAL: 3 } as const;
export type CompareResult = (typeof CompareResult)[keyof typeof CompareResult];

/** What of a key is compared. */
export const CompareTarget = { VERSION: 0, CREATE: 1, MOD: 2, VALUE: 3, LEASE: 4 } as const;
export type CompareTarget = (typeof CompareTarget)[keyof typeof CompareTarget];

/**
 * A condition on a key, or on every key of a range. Of `version`, `createRevision`, `modRevision`, `value` and
 * `lease` at most one is set; it need not be the one that `target` names (etcd then compares with 0 or nothing).
 */
export interface Compare {
  result: CompareResult;
  target: CompareTarget;
  key: Uint8Array;
  /** As in RangeRequest. */
  rangeEnd: Uint8Array;
  version?: number;
  createRevision?: number;
  modRevision?: number;
  value?: Uint8Array;
  lease?: bigint;
  unknown?: Uint8Array;
}

function readCompare(r: Reader): Compare {
  const m: Compare = { result: 0, target: 0, key: EMPTY, rangeEnd: EMPTY };
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
        clearOperand(m);
        m.version = r.int64();
        break;
      case 0x28:
        clearOperand(m);
        m.createRevision = r.int64();
        break;
      case 0x30:
        clearOperand(m);
        m.modRevision = r.int64();
        break;
      case 0x3a:
        clearOperand(m);
        m.value = r.data();
        break;
      case 0x40:
        clearOperand(m);
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

/** A member of the oneof takes the place of the one before it. */
function clearOperand(m: Compare): void {
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

export const Compare: Codec<Compare> = codec(readCompare, writeCompare);

/** One operation of a transaction. `none`: an operation of no kind, which etcd refuses or ignores. */
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

export const RequestOp: Codec<RequestOp> = codec(readRequestOp, writeRequestOp);

/** Answer to one operation of a transaction, of the same kind. */
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

export const ResponseOp: Codec<ResponseOp> = codec(readResponseOp, writeResponseOp);

/** Compares, then runs `success` if all hold, else `failure`: all at one revision. */
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

export const TxnRequest: Codec<TxnRequest> = codec(readTxnRequest, writeTxnRequest);

/** Answer to a Txn. */
export interface TxnResponse {
  header?: ResponseHeader;
  /** Whether the compares held. */
  succeeded: boolean;
  /** One for each operation of the branch that ran. */
  responses: ResponseOp[];
  unknown?: Uint8Array;
}

function readTxnResponse(r: Reader, m: TxnResponse = { succeeded: false, responses: [] }): TxnResponse {
  r.descend();
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
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
  w.message(0x0a, writeHeader, m.header);
}

export const TxnResponse: Codec<TxnResponse> = codec(readTxnResponse, writeTxnResponse);
