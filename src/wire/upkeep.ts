import { type Codec, codec, type Init } from "./codec.js";
import { type ResponseHeader, readHeader, writeHeader } from "./header.js";
import { EMPTY, type Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** What an `AlarmRequest` wants. */
export const AlarmAction = { GET: 0, ACTIVATE: 1, DEACTIVATE: 2 } as const;

/** What a `DowngradeRequest` wants. */
export const DowngradeAction = { VALIDATE: 0, ENABLE: 1, CANCEL: 2 } as const;

/** Asks for, raises or disarms alarms. */
export interface AlarmRequest {
  /** An `AlarmAction`. */
  action: number;
  /** 0: of all members. */
  memberId: bigint;
  /** 0: every kind. */
  alarm: number;
  unknown?: Uint8Array;
}

function readAlarmRequest(r: Reader, m: AlarmRequest = { action: 0, memberId: 0n, alarm: 0 }): AlarmRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.action = r.int32();
        break;
      case 0x10:
        m.memberId = r.bigUint64();
        break;
      case 0x18:
        m.alarm = r.int32();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeAlarmRequest(w: Writer, m: Init<AlarmRequest>): void {
  w.raw(m.unknown);
  w.int64(0x18, m.alarm);
  w.big64(0x10, m.memberId);
  w.int64(0x08, m.action);
}

export const AlarmRequest: Codec<AlarmRequest> = codec(readAlarmRequest, writeAlarmRequest);

/** An alarm that is raised. */
export interface AlarmMember {
  memberId: bigint;
  /** 1: no space, 2: corrupt. */
  alarm: number;
  unknown?: Uint8Array;
}

function readAlarmMember(r: Reader, m: AlarmMember = { memberId: 0n, alarm: 0 }): AlarmMember {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.memberId = r.bigUint64();
        break;
      case 0x10:
        m.alarm = r.int32();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAlarmMember(w: Writer, m: Init<AlarmMember>): void {
  w.raw(m.unknown);
  w.int64(0x10, m.alarm);
  w.big64(0x08, m.memberId);
}

export const AlarmMember: Codec<AlarmMember> = codec(readAlarmMember, writeAlarmMember);

/** The alarms that the request was about. */
export interface AlarmResponse {
  header?: ResponseHeader;
  alarms: AlarmMember[];
  unknown?: Uint8Array;
}

function readAlarmResponse(r: Reader, m: AlarmResponse = { alarms: [] }): AlarmResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.alarms.push(r.message(readAlarmMember));
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAlarmResponse(w: Writer, m: Init<AlarmResponse>): void {
  w.raw(m.unknown);
  w.messages(0x12, writeAlarmMember, m.alarms);
  w.message(0x0a, writeHeader, m.header);
}

export const AlarmResponse: Codec<AlarmResponse> = codec(readAlarmResponse, writeAlarmResponse);

/** Hash of one member's whole backend. */
export interface HashResponse {
  header?: ResponseHeader;
  hash: number;
  unknown?: Uint8Array;
}

function readHashResponse(r: Reader, m: HashResponse = { hash: 0 }): HashResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x10:
        m.hash = r.int32() >>> 0;
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeHashResponse(w: Writer, m: Init<HashResponse>): void {
  w.raw(m.unknown);
  w.int64(0x10, m.hash);
  w.message(0x0a, writeHeader, m.header);
}

export const HashResponse: Codec<HashResponse> = codec(readHashResponse, writeHashResponse);

/** Asks for the hash of all keys up to a revision. */
export interface HashKVRequest {
  /** 0: the newest. */
  revision: number;
  unknown?: Uint8Array;
}

function readHashKVRequest(r: Reader, m: HashKVRequest = { revision: 0 }): HashKVRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.revision = r.int64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeHashKVRequest(w: Writer, m: Init<HashKVRequest>): void {
  w.raw(m.unknown);
  w.int64(0x08, m.revision);
}

export const HashKVRequest: Codec<HashKVRequest> = codec(readHashKVRequest, writeHashKVRequest);

/** Hash of all keys up to a revision. */
export interface HashKVResponse {
  header?: ResponseHeader;
  hash: number;
  /** -1 when nothing has been compacted. */
  compactRevision: number;
  unknown?: Uint8Array;
}

function readHashKVResponse(r: Reader, m: HashKVResponse = { hash: 0, compactRevision: 0 }): HashKVResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x10:
        m.hash = r.int32() >>> 0;
        break;
      case 0x18:
        m.compactRevision = r.int64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeHashKVResponse(w: Writer, m: Init<HashKVResponse>): void {
  w.raw(m.unknown);
  w.int64(0x18, m.compactRevision);
  w.int64(0x10, m.hash);
  w.message(0x0a, writeHeader, m.header);
}

export const HashKVResponse: Codec<HashKVResponse> = codec(readHashKVResponse, writeHashKVResponse);

/** Asks the leader to hand over to another member. */
export interface MoveLeaderRequest {
  targetId: bigint;
  unknown?: Uint8Array;
}

function readMoveLeaderRequest(r: Reader, m: MoveLeaderRequest = { targetId: 0n }): MoveLeaderRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.targetId = r.bigUint64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeMoveLeaderRequest(w: Writer, m: Init<MoveLeaderRequest>): void {
  w.raw(m.unknown);
  w.big64(0x08, m.targetId);
}

export const MoveLeaderRequest: Codec<MoveLeaderRequest> = codec(
  readMoveLeaderRequest,
  writeMoveLeaderRequest,
);

/** Asks for steps of a downgrade to an earlier minor version. */
export interface DowngradeRequest {
  /** A `DowngradeAction`. */
  action: number;
  /** The version to go to. */
  version: string;
  unknown?: Uint8Array;
}

function readDowngradeRequest(r: Reader, m: DowngradeRequest = { action: 0, version: "" }): DowngradeRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.action = r.int32();
        break;
      case 0x12:
        m.version = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeDowngradeRequest(w: Writer, m: Init<DowngradeRequest>): void {
  w.raw(m.unknown);
  w.text(0x12, m.version);
  w.int64(0x08, m.action);
}

export const DowngradeRequest: Codec<DowngradeRequest> = codec(readDowngradeRequest, writeDowngradeRequest);

/** Answer to a downgrade request. */
export interface DowngradeResponse {
  header?: ResponseHeader;
  /** The cluster version. */
  version: string;
  unknown?: Uint8Array;
}

function readDowngradeResponse(r: Reader, m: DowngradeResponse = { version: "" }): DowngradeResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.version = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeDowngradeResponse(w: Writer, m: Init<DowngradeResponse>): void {
  w.raw(m.unknown);
  w.text(0x12, m.version);
  w.message(0x0a, writeHeader, m.header);
}

export const DowngradeResponse: Codec<DowngradeResponse> = codec(
  readDowngradeResponse,
  writeDowngradeResponse,
);

/** A piece of a member's backend file; the last piece is the SHA-256 of all before. */
export interface SnapshotResponse {
  header?: ResponseHeader;
  /** Bytes of the file that follow. */
  remainingBytes: number;
  blob: Uint8Array;
  unknown?: Uint8Array;
}

function readSnapshotResponse(
  r: Reader,
  m: SnapshotResponse = { remainingBytes: 0, blob: EMPTY },
): SnapshotResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x10:
        m.remainingBytes = r.uint64();
        break;
      case 0x1a:
        m.blob = r.data();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeSnapshotResponse(w: Writer, m: Init<SnapshotResponse>): void {
  w.raw(m.unknown);
  w.data(0x1a, m.blob);
  w.uint64(0x10, m.remainingBytes);
  w.message(0x0a, writeHeader, m.header);
}

export const SnapshotResponse: Codec<SnapshotResponse> = codec(readSnapshotResponse, writeSnapshotResponse);

/** Asks for a new member. */
export interface MemberAddRequest {
  peerUrls: string[];
  isLearner: boolean;
  unknown?: Uint8Array;
}

function readMemberAddRequest(
  r: Reader,
  m: MemberAddRequest = { peerUrls: [], isLearner: false },
): MemberAddRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.peerUrls.push(r.text());
        break;
      case 0x10:
        m.isLearner = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeMemberAddRequest(w: Writer, m: Init<MemberAddRequest>): void {
  w.raw(m.unknown);
  w.bool(0x10, m.isLearner);
  w.texts(0x0a, m.peerUrls);
}

export const MemberAddRequest: Codec<MemberAddRequest> = codec(readMemberAddRequest, writeMemberAddRequest);

/** Asks for a member to be removed. */
export interface MemberRemoveRequest {
  id: bigint;
  unknown?: Uint8Array;
}

function readMemberRemoveRequest(r: Reader, m: MemberRemoveRequest = { id: 0n }): MemberRemoveRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.id = r.bigUint64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeMemberRemoveRequest(w: Writer, m: Init<MemberRemoveRequest>): void {
  w.raw(m.unknown);
  w.big64(0x08, m.id);
}

export const MemberRemoveRequest: Codec<MemberRemoveRequest> = codec(
  readMemberRemoveRequest,
  writeMemberRemoveRequest,
);

/** Asks for other peer URLs of a member. */
export interface MemberUpdateRequest {
  id: bigint;
  peerUrls: string[];
  unknown?: Uint8Array;
}

function readMemberUpdateRequest(
  r: Reader,
  m: MemberUpdateRequest = { id: 0n, peerUrls: [] },
): MemberUpdateRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.id = r.bigUint64();
        break;
      case 0x12:
        m.peerUrls.push(r.text());
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeMemberUpdateRequest(w: Writer, m: Init<MemberUpdateRequest>): void {
  w.raw(m.unknown);
  w.texts(0x12, m.peerUrls);
  w.big64(0x08, m.id);
}

export const MemberUpdateRequest: Codec<MemberUpdateRequest> = codec(
  readMemberUpdateRequest,
  writeMemberUpdateRequest,
);

/** Asks for a learner to become a voting member. */
export interface MemberPromoteRequest {
  id: bigint;
  unknown?: Uint8Array;
}

function readMemberPromoteRequest(r: Reader, m: MemberPromoteRequest = { id: 0n }): MemberPromoteRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.id = r.bigUint64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeMemberPromoteRequest(w: Writer, m: Init<MemberPromoteRequest>): void {
  w.raw(m.unknown);
  w.big64(0x08, m.id);
}

export const MemberPromoteRequest: Codec<MemberPromoteRequest> = codec(
  readMemberPromoteRequest,
  writeMemberPromoteRequest,
);
