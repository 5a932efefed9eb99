import { type Codec, codec, type Init } from "./codec.js";
import { type ResponseHeader, readHeader, writeHeader } from "./header.js";
import type { Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** Asks one member for its state. */
export interface StatusRequest {
  unknown?: Uint8Array;
}

function readStatusRequest(r: Reader, m: StatusRequest = {}): StatusRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      default:
        m.unknown = r.unknown(tag, m.unknown, 0);
    }
  }
  return m;
}

function writeStatusRequest(w: Writer, m: Init<StatusRequest>): void {
  w.raw(m.unknown);
}

export const StatusRequest: Codec<StatusRequest> = codec(readStatusRequest, writeStatusRequest);

/** State of one member. */
export interface StatusResponse {
  header?: ResponseHeader;
  version: string;
  /** Bytes of the backend file. */
  dbSize: number;
  /** Member id of the leader this member knows; 0: none. */
  leader: bigint;
  raftIndex: number;
  raftTerm: number;
  raftAppliedIndex: number;
  /** Alarms and other conditions. */
  errors: string[];
  /** Bytes of the backend file that hold data. */
  dbSizeInUse: number;
  isLearner: boolean;
  unknown?: Uint8Array;
}

function readStatusResponse(
  r: Reader,
  m: StatusResponse = {
    version: "",
    dbSize: 0,
    leader: 0n,
    raftIndex: 0,
    raftTerm: 0,
    raftAppliedIndex: 0,
    errors: [],
    dbSizeInUse: 0,
    isLearner: false,
  },
): StatusResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.version = r.text();
        break;
      case 0x18:
        m.dbSize = r.int64();
        break;
      case 0x20:
        m.leader = r.bigUint64();
        break;
      case 0x28:
        m.raftIndex = r.uint64();
        break;
      case 0x30:
        m.raftTerm = r.uint64();
        break;
      case 0x38:
        m.raftAppliedIndex = r.uint64();
        break;
      case 0x42:
        m.errors.push(r.text());
        break;
      case 0x48:
        m.dbSizeInUse = r.int64();
        break;
      case 0x50:
        m.isLearner = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 10);
    }
  }
  return m;
}

function writeStatusResponse(w: Writer, m: Init<StatusResponse>): void {
  w.raw(m.unknown);
  w.bool(0x50, m.isLearner);
  w.int64(0x48, m.dbSizeInUse);
  w.texts(0x42, m.errors);
  w.uint64(0x38, m.raftAppliedIndex);
  w.uint64(0x30, m.raftTerm);
  w.uint64(0x28, m.raftIndex);
  w.big64(0x20, m.leader);
  w.int64(0x18, m.dbSize);
  w.text(0x12, m.version);
  w.message(0x0a, writeHeader, m.header);
}

export const StatusResponse: Codec<StatusResponse> = codec(readStatusResponse, writeStatusResponse);

/** One member of a cluster. */
export interface Member {
  id: bigint;
  /** Empty until the member has started. */
  name: string;
  peerUrls: string[];
  clientUrls: string[];
  isLearner: boolean;
  unknown?: Uint8Array;
}

function readMember(
  r: Reader,
  m: Member = { id: 0n, name: "", peerUrls: [], clientUrls: [], isLearner: false },
): Member {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.id = r.bigUint64();
        break;
      case 0x12:
        m.name = r.text();
        break;
      case 0x1a:
        m.peerUrls.push(r.text());
        break;
      case 0x22:
        m.clientUrls.push(r.text());
        break;
      case 0x28:
        m.isLearner = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 5);
    }
  }
  return m;
}

function writeMember(w: Writer, m: Init<Member>): void {
  w.raw(m.unknown);
  w.bool(0x28, m.isLearner);
  w.texts(0x22, m.clientUrls);
  w.texts(0x1a, m.peerUrls);
  w.text(0x12, m.name);
  w.big64(0x08, m.id);
}

export const Member: Codec<Member> = codec(readMember, writeMember);

/** Lists the members of a cluster. */
export interface MemberListRequest {
  linearizable: boolean;
  unknown?: Uint8Array;
}

function readMemberListRequest(r: Reader, m: MemberListRequest = { linearizable: false }): MemberListRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.linearizable = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeMemberListRequest(w: Writer, m: Init<MemberListRequest>): void {
  w.raw(m.unknown);
  w.bool(0x08, m.linearizable);
}

export const MemberListRequest: Codec<MemberListRequest> = codec(
  readMemberListRequest,
  writeMemberListRequest,
);

/** Answer to a member listing. */
export interface MemberListResponse {
  header?: ResponseHeader;
  members: Member[];
  unknown?: Uint8Array;
}

function readMemberListResponse(r: Reader, m: MemberListResponse = { members: [] }): MemberListResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.members.push(r.message(readMember));
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeMemberListResponse(w: Writer, m: Init<MemberListResponse>): void {
  w.raw(m.unknown);
  w.messages(0x12, writeMember, m.members);
  w.message(0x0a, writeHeader, m.header);
}

export const MemberListResponse: Codec<MemberListResponse> = codec(
  readMemberListResponse,
  writeMemberListResponse,
);
