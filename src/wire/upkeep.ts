import { field } from "./field.js";
import { header } from "./header.js";
import { type MessageOf, message } from "./message.js";

/** What an `AlarmRequest` wants. */
export const AlarmAction = { GET: 0, ACTIVATE: 1, DEACTIVATE: 2 } as const;

/** What a `DowngradeRequest` wants. */
export const DowngradeAction = { VALIDATE: 0, ENABLE: 1, CANCEL: 2 } as const;

/** Asks for, raises or disarms alarms. */
export const AlarmRequest = message({
  /** An `AlarmAction`. */
  action: field.enum(1),
  /** 0: of all members. */
  memberId: field.bigUint64(2),
  /** 0: every kind. */
  alarm: field.enum(3),
});
export type AlarmRequest = MessageOf<typeof AlarmRequest>;

/** An alarm that is raised. */
export const AlarmMember = message({
  memberId: field.bigUint64(1),
  /** 1: no space, 2: corrupt. */
  alarm: field.enum(2),
});
export type AlarmMember = MessageOf<typeof AlarmMember>;

/** The alarms that the request was about. */
export const AlarmResponse = message({ header, alarms: field.messages(2, AlarmMember) });
export type AlarmResponse = MessageOf<typeof AlarmResponse>;

/** Hash of one member's whole backend. */
export const HashResponse = message({ header, hash: field.uint32(2) });
export type HashResponse = MessageOf<typeof HashResponse>;

/** Asks for the hash of all keys up to a revision. */
export const HashKVRequest = message({
  /** 0: the newest. */
  revision: field.int64(1),
});
export type HashKVRequest = MessageOf<typeof HashKVRequest>;

/** Hash of all keys up to a revision. */
export const HashKVResponse = message({
  header,
  hash: field.uint32(2),
  /** -1 when nothing has been compacted. */
  compactRevision: field.int64(3),
  /** The revision that the hash is of; etcd 3.6 on. */
  hashRevision: field.int64(4),
});
export type HashKVResponse = MessageOf<typeof HashKVResponse>;

/** Asks the leader to hand over to another member. */
export const MoveLeaderRequest = message({ targetId: field.bigUint64(1) });
export type MoveLeaderRequest = MessageOf<typeof MoveLeaderRequest>;

/** Asks for steps of a downgrade to an earlier minor version. */
export const DowngradeRequest = message({
  /** A `DowngradeAction`. */
  action: field.enum(1),
  /** The version to go to. */
  version: field.text(2),
});
export type DowngradeRequest = MessageOf<typeof DowngradeRequest>;

/** Answer to a downgrade request. */
export const DowngradeResponse = message({
  header,
  /** The cluster version. */
  version: field.text(2),
});
export type DowngradeResponse = MessageOf<typeof DowngradeResponse>;

/** A piece of a member's backend file; the last piece is the SHA-256 of all before. */
export const SnapshotResponse = message({
  header,
  /** Bytes of the file that follow. */
  remainingBytes: field.uint64(2),
  blob: field.data(3),
});
export type SnapshotResponse = MessageOf<typeof SnapshotResponse>;

/** Asks for a new member. */
export const MemberAddRequest = message({ peerUrls: field.texts(1), isLearner: field.bool(2) });
export type MemberAddRequest = MessageOf<typeof MemberAddRequest>;

/** Asks for a member to be removed. */
export const MemberRemoveRequest = message({ id: field.bigUint64(1) });
export type MemberRemoveRequest = MessageOf<typeof MemberRemoveRequest>;

/** Asks for other peer URLs of a member. */
export const MemberUpdateRequest = message({ id: field.bigUint64(1), peerUrls: field.texts(2) });
export type MemberUpdateRequest = MessageOf<typeof MemberUpdateRequest>;

/** Asks for a learner to become a voting member. */
export const MemberPromoteRequest = message({ id: field.bigUint64(1) });
export type MemberPromoteRequest = MessageOf<typeof MemberPromoteRequest>;
