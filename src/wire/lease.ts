import { type Codec, codec, type Init } from "./codec.js";
import { type ResponseHeader, readHeader, writeHeader } from "./header.js";
import type { Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** Creates a lease. */
export interface LeaseGrantRequest {
  /** Wanted time to live, seconds. */
  ttl: number;
  /** 0: the server chooses. */
  id: bigint;
  unknown?: Uint8Array;
}

function readLeaseGrantRequest(r: Reader, m: LeaseGrantRequest = { ttl: 0, id: 0n }): LeaseGrantRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.ttl = r.int64();
        break;
      case 0x10:
        m.id = r.bigInt64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeLeaseGrantRequest(w: Writer, m: Init<LeaseGrantRequest>): void {
  w.raw(m.unknown);
  w.big64(0x10, m.id);
  w.int64(0x08, m.ttl);
}

export const LeaseGrantRequest: Codec<LeaseGrantRequest> = codec(
  readLeaseGrantRequest,
  writeLeaseGrantRequest,
);

/** Answer to a grant. */
export interface LeaseGrantResponse {
  header?: ResponseHeader;
  id: bigint;
  /** Seconds granted. */
  ttl: number;
  error: string;
  unknown?: Uint8Array;
}

function readLeaseGrantResponse(
  r: Reader,
  m: LeaseGrantResponse = { id: 0n, ttl: 0, error: "" },
): LeaseGrantResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x10:
        m.id = r.bigInt64();
        break;
      case 0x18:
        m.ttl = r.int64();
        break;
      case 0x22:
        m.error = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 4);
    }
  }
  return m;
}

function writeLeaseGrantResponse(w: Writer, m: Init<LeaseGrantResponse>): void {
  w.raw(m.unknown);
  w.text(0x22, m.error);
  w.int64(0x18, m.ttl);
  w.big64(0x10, m.id);
  w.message(0x0a, writeHeader, m.header);
}

export const LeaseGrantResponse: Codec<LeaseGrantResponse> = codec(
  readLeaseGrantResponse,
  writeLeaseGrantResponse,
);

/** Ends a lease and deletes its keys. */
export interface LeaseRevokeRequest {
  id: bigint;
  unknown?: Uint8Array;
}

function readLeaseRevokeRequest(r: Reader, m: LeaseRevokeRequest = { id: 0n }): LeaseRevokeRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.id = r.bigInt64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeLeaseRevokeRequest(w: Writer, m: Init<LeaseRevokeRequest>): void {
  w.raw(m.unknown);
  w.big64(0x08, m.id);
}

export const LeaseRevokeRequest: Codec<LeaseRevokeRequest> = codec(
  readLeaseRevokeRequest,
  writeLeaseRevokeRequest,
);

/** Answer to a revocation. */
export interface LeaseRevokeResponse {
  header?: ResponseHeader;
  unknown?: Uint8Array;
}

function readLeaseRevokeResponse(r: Reader, m: LeaseRevokeResponse = {}): LeaseRevokeResponse {
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

function writeLeaseRevokeResponse(w: Writer, m: Init<LeaseRevokeResponse>): void {
  w.raw(m.unknown);
  w.message(0x0a, writeHeader, m.header);
}

export const LeaseRevokeResponse: Codec<LeaseRevokeResponse> = codec(
  readLeaseRevokeResponse,
  writeLeaseRevokeResponse,
);

/** Renews a lease. */
export interface LeaseKeepAliveRequest {
  id: bigint;
  unknown?: Uint8Array;
}

function readLeaseKeepAliveRequest(r: Reader, m: LeaseKeepAliveRequest = { id: 0n }): LeaseKeepAliveRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.id = r.bigInt64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeLeaseKeepAliveRequest(w: Writer, m: Init<LeaseKeepAliveRequest>): void {
  w.raw(m.unknown);
  w.big64(0x08, m.id);
}

export const LeaseKeepAliveRequest: Codec<LeaseKeepAliveRequest> = codec(
  readLeaseKeepAliveRequest,
  writeLeaseKeepAliveRequest,
);

/** Answer to a keep-alive. */
export interface LeaseKeepAliveResponse {
  header?: ResponseHeader;
  id: bigint;
  /** Seconds from now; 0 or less: the lease is gone. */
  ttl: number;
  unknown?: Uint8Array;
}

function readLeaseKeepAliveResponse(
  r: Reader,
  m: LeaseKeepAliveResponse = { id: 0n, ttl: 0 },
): LeaseKeepAliveResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x10:
        m.id = r.bigInt64();
        break;
      case 0x18:
        m.ttl = r.int64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeLeaseKeepAliveResponse(w: Writer, m: Init<LeaseKeepAliveResponse>): void {
  w.raw(m.unknown);
  w.int64(0x18, m.ttl);
  w.big64(0x10, m.id);
  w.message(0x0a, writeHeader, m.header);
}

export const LeaseKeepAliveResponse: Codec<LeaseKeepAliveResponse> = codec(
  readLeaseKeepAliveResponse,
  writeLeaseKeepAliveResponse,
);

/** Asks how long a lease has. */
export interface LeaseTimeToLiveRequest {
  id: bigint;
  /** Whether to list its keys. */
  keys: boolean;
  unknown?: Uint8Array;
}

function readLeaseTimeToLiveRequest(
  r: Reader,
  m: LeaseTimeToLiveRequest = { id: 0n, keys: false },
): LeaseTimeToLiveRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.id = r.bigInt64();
        break;
      case 0x10:
        m.keys = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeLeaseTimeToLiveRequest(w: Writer, m: Init<LeaseTimeToLiveRequest>): void {
  w.raw(m.unknown);
  w.bool(0x10, m.keys);
  w.big64(0x08, m.id);
}

export const LeaseTimeToLiveRequest: Codec<LeaseTimeToLiveRequest> = codec(
  readLeaseTimeToLiveRequest,
  writeLeaseTimeToLiveRequest,
);

/** Answer to a time-to-live request. */
export interface LeaseTimeToLiveResponse {
  header?: ResponseHeader;
  id: bigint;
  /** Seconds left; -1: the lease is gone. */
  ttl: number;
  /** Seconds of a full term. */
  grantedTtl: number;
  keys: Uint8Array[];
  unknown?: Uint8Array;
}

function readLeaseTimeToLiveResponse(
  r: Reader,
  m: LeaseTimeToLiveResponse = { id: 0n, ttl: 0, grantedTtl: 0, keys: [] },
): LeaseTimeToLiveResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x10:
        m.id = r.bigInt64();
        break;
      case 0x18:
        m.ttl = r.int64();
        break;
      case 0x20:
        m.grantedTtl = r.int64();
        break;
      case 0x2a:
        m.keys.push(r.data());
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 5);
    }
  }
  return m;
}

function writeLeaseTimeToLiveResponse(w: Writer, m: Init<LeaseTimeToLiveResponse>): void {
  w.raw(m.unknown);
  w.datas(0x2a, m.keys);
  w.int64(0x20, m.grantedTtl);
  w.int64(0x18, m.ttl);
  w.big64(0x10, m.id);
  w.message(0x0a, writeHeader, m.header);
}

export const LeaseTimeToLiveResponse: Codec<LeaseTimeToLiveResponse> = codec(
  readLeaseTimeToLiveResponse,
  writeLeaseTimeToLiveResponse,
);

/** Lists all leases. */
export interface LeaseLeasesRequest {
  unknown?: Uint8Array;
}

function readLeaseLeasesRequest(r: Reader, m: LeaseLeasesRequest = {}): LeaseLeasesRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      default:
        m.unknown = r.unknown(tag, m.unknown, 0);
    }
  }
  return m;
}

function writeLeaseLeasesRequest(w: Writer, m: Init<LeaseLeasesRequest>): void {
  w.raw(m.unknown);
}

export const LeaseLeasesRequest: Codec<LeaseLeasesRequest> = codec(
  readLeaseLeasesRequest,
  writeLeaseLeasesRequest,
);

function readLeaseStatus(r: Reader): bigint {
  let id = 0n;
  while (r.more()) {
    const tag = r.tag();
    if (tag === 0x08) id = r.bigInt64();
    else r.skip(tag, 1);
  }
  return id;
}

function writeLeaseStatus(w: Writer, id: bigint): void {
  w.big64(0x08, id);
}

/** Answer to a listing: the ids of all leases. */
export interface LeaseLeasesResponse {
  header?: ResponseHeader;
  leases: bigint[];
  unknown?: Uint8Array;
}

function readLeaseLeasesResponse(r: Reader, m: LeaseLeasesResponse = { leases: [] }): LeaseLeasesResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.leases.push(r.message(readLeaseStatus));
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeLeaseLeasesResponse(w: Writer, m: Init<LeaseLeasesResponse>): void {
  w.raw(m.unknown);
  w.messages(0x12, writeLeaseStatus, m.leases);
  w.message(0x0a, writeHeader, m.header);
}

export const LeaseLeasesResponse: Codec<LeaseLeasesResponse> = codec(
  readLeaseLeasesResponse,
  writeLeaseLeasesResponse,
);
