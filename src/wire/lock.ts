import { type Codec, codec, type Init } from "./codec.js";
import { type ResponseHeader, readHeader, writeHeader } from "./header.js";
import { EMPTY, type Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** Waits for a mutex. */
export interface LockRequest {
  name: Uint8Array;
  /** What the mutex is held under; 0: a new lease of 60 seconds. */
  lease: bigint;
  unknown?: Uint8Array;
}

function readLockRequest(r: Reader, m: LockRequest = { name: EMPTY, lease: 0n }): LockRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.data();
        break;
      case 0x10:
        m.lease = r.bigInt64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeLockRequest(w: Writer, m: Init<LockRequest>): void {
  w.raw(m.unknown);
  w.big64(0x10, m.lease);
  w.data(0x0a, m.name);
}

export const LockRequest: Codec<LockRequest> = codec(readLockRequest, writeLockRequest);

/** The mutex is held. */
export interface LockResponse {
  header?: ResponseHeader;
  /** Exists as long as the mutex is held; names it in an unlock. */
  key: Uint8Array;
  unknown?: Uint8Array;
}

function readLockResponse(r: Reader, m: LockResponse = { key: EMPTY }): LockResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.key = r.data();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeLockResponse(w: Writer, m: Init<LockResponse>): void {
  w.raw(m.unknown);
  w.data(0x12, m.key);
  w.message(0x0a, writeHeader, m.header);
}

export const LockResponse: Codec<LockResponse> = codec(readLockResponse, writeLockResponse);

/** Gives a mutex back. */
export interface UnlockRequest {
  key: Uint8Array;
  unknown?: Uint8Array;
}

function readUnlockRequest(r: Reader, m: UnlockRequest = { key: EMPTY }): UnlockRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.key = r.data();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeUnlockRequest(w: Writer, m: Init<UnlockRequest>): void {
  w.raw(m.unknown);
  w.data(0x0a, m.key);
}

export const UnlockRequest: Codec<UnlockRequest> = codec(readUnlockRequest, writeUnlockRequest);

/** Answer to an unlock. */
export interface UnlockResponse {
  header?: ResponseHeader;
  unknown?: Uint8Array;
}

function readUnlockResponse(r: Reader, m: UnlockResponse = {}): UnlockResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeUnlockResponse(w: Writer, m: Init<UnlockResponse>): void {
  w.raw(m.unknown);
  w.message(0x0a, writeHeader, m.header);
}

export const UnlockResponse: Codec<UnlockResponse> = codec(readUnlockResponse, writeUnlockResponse);
