import { type Codec, codec, type Init } from "./codec.js";
import { type ResponseHeader, readHeader, writeHeader } from "./header.js";
import { type KeyValue, readKeyValue, writeKeyValue } from "./keyvalue.js";
import { EMPTY, type Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** Order of the keys of a Range. */
export const SortOrder = { NONE: 0, ASCEND: 1, DESCEND: 2 } as const;
export type SortOrder = (typeof SortOrder)[keyof typeof SortOrder];

/** What a Range is sorted by. */
export const SortTarget = { KEY: 0, VERSION: 1, CREATE: 2, MOD: 3, VALUE: 4 } as const;
export type SortTarget = (typeof SortTarget)[keyof typeof SortTarget];

/** Reads a key, or the keys from `key` up to, not including, `rangeEnd`. */
export interface RangeRequest {
  key: Uint8Array;
  /** Empty: the single key. One zero byte: all keys from `key` on. */
  rangeEnd: Uint8Array;
  /** Most keys to return; 0: all. */
  limit: number;
  /** State to read; 0 or less: the newest. */
  revision: number;
  sortOrder: SortOrder;
  sortTarget: SortTarget;
  /** Whether a stale answer of one member will do. */
  serializable: boolean;
  keysOnly: boolean;
  countOnly: boolean;
  /** Bounds, inclusive; 0: none. */
  minModRevision: number;
  maxModRevision: number;
  minCreateRevision: number;
  maxCreateRevision: number;
  unknown?: Uint8Array;
}

export function readRangeRequest(
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

export function writeRangeRequest(w: Writer, m: Init<RangeRequest>): void {
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

export const RangeRequest: Codec<RangeRequest> = codec(readRangeRequest, writeRangeRequest);

/** Answer to a Range. */
export interface RangeResponse {
  header?: ResponseHeader;
  kvs: KeyValue[];
  /** Whether the limit left keys out. */
  more: boolean;
  /** Keys in the range, whatever limit and bounds. */
  count: number;
  unknown?: Uint8Array;
}

export function readRangeResponse(
  r: Reader,
  m: RangeResponse = { kvs: [], more: false, count: 0 },
): RangeResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
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

export function writeRangeResponse(w: Writer, m: Init<RangeResponse>): void {
  w.raw(m.unknown);
  w.int64(0x20, m.count);
  w.bool(0x18, m.more);
  w.messages(0x12, writeKeyValue, m.kvs);
  w.message(0x0a, writeHeader, m.header);
}

export const RangeResponse: Codec<RangeResponse> = codec(readRangeResponse, writeRangeResponse);

/** Writes one key. */
export interface PutRequest {
  key: Uint8Array;
  value: Uint8Array;
  /** 0: none. */
  lease: bigint;
  /** Whether to return the key as it was. */
  prevKv: boolean;
  /** Keep the value that the key has. */
  ignoreValue: boolean;
  /** Keep the lease that the key has. */
  ignoreLease: boolean;
  unknown?: Uint8Array;
}

export function readPutRequest(
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

export function writePutRequest(w: Writer, m: Init<PutRequest>): void {
  w.raw(m.unknown);
  w.bool(0x30, m.ignoreLease);
  w.bool(0x28, m.ignoreValue);
  w.bool(0x20, m.prevKv);
  w.big64(0x18, m.lease);
  w.data(0x12, m.value);
  w.data(0x0a, m.key);
}

export const PutRequest: Codec<PutRequest> = codec(readPutRequest, writePutRequest);

/** Answer to a Put. */
export interface PutResponse {
  header?: ResponseHeader;
  prevKv?: KeyValue;
  unknown?: Uint8Array;
}

export function readPutResponse(r: Reader, m: PutResponse = {}): PutResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
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

export function writePutResponse(w: Writer, m: Init<PutResponse>): void {
  w.raw(m.unknown);
  w.message(0x12, writeKeyValue, m.prevKv);
  w.message(0x0a, writeHeader, m.header);
}

export const PutResponse: Codec<PutResponse> = codec(readPutResponse, writePutResponse);

/** Deletes a key or a range, which is given as in RangeRequest. */
export interface DeleteRangeRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  /** Whether to return the keys as they were. */
  prevKv: boolean;
  unknown?: Uint8Array;
}

export function readDeleteRangeRequest(
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

export function writeDeleteRangeRequest(w: Writer, m: Init<DeleteRangeRequest>): void {
  w.raw(m.unknown);
  w.bool(0x18, m.prevKv);
  w.data(0x12, m.rangeEnd);
  w.data(0x0a, m.key);
}

export const DeleteRangeRequest: Codec<DeleteRangeRequest> = codec(
  readDeleteRangeRequest,
  writeDeleteRangeRequest,
);

/** Answer to a DeleteRange. */
export interface DeleteRangeResponse {
  header?: ResponseHeader;
  /** Keys that were deleted. */
  deleted: number;
  prevKvs: KeyValue[];
  unknown?: Uint8Array;
}

export function readDeleteRangeResponse(
  r: Reader,
  m: DeleteRangeResponse = { deleted: 0, prevKvs: [] },
): DeleteRangeResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
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

export function writeDeleteRangeResponse(w: Writer, m: Init<DeleteRangeResponse>): void {
  w.raw(m.unknown);
  w.messages(0x1a, writeKeyValue, m.prevKvs);
  w.int64(0x10, m.deleted);
  w.message(0x0a, writeHeader, m.header);
}

export const DeleteRangeResponse: Codec<DeleteRangeResponse> = codec(
  readDeleteRangeResponse,
  writeDeleteRangeResponse,
);
