import { type Codec, codec, type Init } from "./codec.js";
import { type ResponseHeader, readHeader, writeHeader } from "./header.js";
import { type KeyValue, readKeyValue, writeKeyValue } from "./keyvalue.js";
import { EMPTY, type Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** Who leads, or stands for it. */
export interface LeaderKey {
  /** Of the election. */
  name: Uint8Array;
  key: Uint8Array;
  /** The key's create revision. */
  rev: number;
  lease: bigint;
  unknown?: Uint8Array;
}

function readLeaderKey(r: Reader, m: LeaderKey = { name: EMPTY, key: EMPTY, rev: 0, lease: 0n }): LeaderKey {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.data();
        break;
      case 0x12:
        m.key = r.data();
        break;
      case 0x18:
        m.rev = r.int64();
        break;
      case 0x20:
        m.lease = r.bigInt64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 4);
    }
  }
  return m;
}

function writeLeaderKey(w: Writer, m: Init<LeaderKey>): void {
  w.raw(m.unknown);
  w.big64(0x20, m.lease);
  w.int64(0x18, m.rev);
  w.data(0x12, m.key);
  w.data(0x0a, m.name);
}

export const LeaderKey: Codec<LeaderKey> = codec(readLeaderKey, writeLeaderKey);

/** Stands for leadership and waits for it. */
export interface CampaignRequest {
  name: Uint8Array;
  /** What leadership is held under; 0: a new lease of 60 seconds. */
  lease: bigint;
  value: Uint8Array;
  unknown?: Uint8Array;
}

function readCampaignRequest(
  r: Reader,
  m: CampaignRequest = { name: EMPTY, lease: 0n, value: EMPTY },
): CampaignRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.data();
        break;
      case 0x10:
        m.lease = r.bigInt64();
        break;
      case 0x1a:
        m.value = r.data();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeCampaignRequest(w: Writer, m: Init<CampaignRequest>): void {
  w.raw(m.unknown);
  w.data(0x1a, m.value);
  w.big64(0x10, m.lease);
  w.data(0x0a, m.name);
}

export const CampaignRequest: Codec<CampaignRequest> = codec(readCampaignRequest, writeCampaignRequest);

/** Leadership was won. */
export interface CampaignResponse {
  header?: ResponseHeader;
  leader?: LeaderKey;
  unknown?: Uint8Array;
}

function readCampaignResponse(r: Reader, m: CampaignResponse = {}): CampaignResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.leader = r.message(readLeaderKey, m.leader);
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeCampaignResponse(w: Writer, m: Init<CampaignResponse>): void {
  w.raw(m.unknown);
  w.message(0x12, writeLeaderKey, m.leader);
  w.message(0x0a, writeHeader, m.header);
}

export const CampaignResponse: Codec<CampaignResponse> = codec(readCampaignResponse, writeCampaignResponse);

/** Changes the leader's value. */
export interface ProclaimRequest {
  leader?: LeaderKey;
  value: Uint8Array;
  unknown?: Uint8Array;
}

function readProclaimRequest(r: Reader, m: ProclaimRequest = { value: EMPTY }): ProclaimRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.leader = r.message(readLeaderKey, m.leader);
        break;
      case 0x12:
        m.value = r.data();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeProclaimRequest(w: Writer, m: Init<ProclaimRequest>): void {
  w.raw(m.unknown);
  w.data(0x12, m.value);
  w.message(0x0a, writeLeaderKey, m.leader);
}

export const ProclaimRequest: Codec<ProclaimRequest> = codec(readProclaimRequest, writeProclaimRequest);

/** Answer to a proclamation. */
export interface ProclaimResponse {
  header?: ResponseHeader;
  unknown?: Uint8Array;
}

function readProclaimResponse(r: Reader, m: ProclaimResponse = {}): ProclaimResponse {
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

function writeProclaimResponse(w: Writer, m: Init<ProclaimResponse>): void {
  w.raw(m.unknown);
  w.message(0x0a, writeHeader, m.header);
}

export const ProclaimResponse: Codec<ProclaimResponse> = codec(readProclaimResponse, writeProclaimResponse);

/** Asks who leads, once or (Observe) for ever. */
export interface LeaderRequest {
  name: Uint8Array;
  unknown?: Uint8Array;
}

function readLeaderRequest(r: Reader, m: LeaderRequest = { name: EMPTY }): LeaderRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.data();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeLeaderRequest(w: Writer, m: Init<LeaderRequest>): void {
  w.raw(m.unknown);
  w.data(0x0a, m.name);
}

export const LeaderRequest: Codec<LeaderRequest> = codec(readLeaderRequest, writeLeaderRequest);

/** Who leads. */
export interface LeaderResponse {
  header?: ResponseHeader;
  kv?: KeyValue;
  unknown?: Uint8Array;
}

function readLeaderResponse(r: Reader, m: LeaderResponse = {}): LeaderResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.kv = r.message(readKeyValue, m.kv);
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeLeaderResponse(w: Writer, m: Init<LeaderResponse>): void {
  w.raw(m.unknown);
  w.message(0x12, writeKeyValue, m.kv);
  w.message(0x0a, writeHeader, m.header);
}

export const LeaderResponse: Codec<LeaderResponse> = codec(readLeaderResponse, writeLeaderResponse);

/** Gives leadership up. */
export interface ResignRequest {
  leader?: LeaderKey;
  unknown?: Uint8Array;
}

function readResignRequest(r: Reader, m: ResignRequest = {}): ResignRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.leader = r.message(readLeaderKey, m.leader);
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeResignRequest(w: Writer, m: Init<ResignRequest>): void {
  w.raw(m.unknown);
  w.message(0x0a, writeLeaderKey, m.leader);
}

export const ResignRequest: Codec<ResignRequest> = codec(readResignRequest, writeResignRequest);

/** Answer to a resignation. */
export interface ResignResponse {
  header?: ResponseHeader;
  unknown?: Uint8Array;
}

function readResignResponse(r: Reader, m: ResignResponse = {}): ResignResponse {
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

function writeResignResponse(w: Writer, m: Init<ResignResponse>): void {
  w.raw(m.unknown);
  w.message(0x0a, writeHeader, m.header);
}

export const ResignResponse: Codec<ResignResponse> = codec(readResignResponse, writeResignResponse);
