import { field } from "./field.js";
import { header } from "./header.js";
import { type MessageOf, message } from "./message.js";

/** Asks one member for its state. */
export const StatusRequest = message({});
export type StatusRequest = MessageOf<typeof StatusRequest>;

/** Whether a cluster is being downgraded. */
export const DowngradeInfo = message({
  enabled: field.bool(1),
  /** E.g. "3.5.0". */
  targetVersion: field.text(2),
});
export type DowngradeInfo = MessageOf<typeof DowngradeInfo>;

/** State of one member. */
export const StatusResponse = message({
  header,
  version: field.text(2),
  /** Bytes of the backend file. */
  dbSize: field.int64(3),
  /** Member id of the leader this member knows; 0: none. */
  leader: field.bigUint64(4),
  raftIndex: field.uint64(5),
  raftTerm: field.uint64(6),
  raftAppliedIndex: field.uint64(7),
  /** Alarms and other conditions. */
  errors: field.texts(8),
  /** Bytes of the backend file that hold data. */
  dbSizeInUse: field.int64(9),
  isLearner: field.bool(10),
  /** Of the backend file's format, e.g. "3.6.0"; etcd 3.6 on, empty while it is not known. */
  storageVersion: field.text(11),
  /** Bytes that the backend file may grow to, negative: any number; etcd 3.6 on. */
  dbSizeQuota: field.int64(12),
  /** etcd 3.6 on, always. */
  downgradeInfo: field.message(13, DowngradeInfo),
});
export type StatusResponse = MessageOf<typeof StatusResponse>;

/** One member of a cluster. */
export const Member = message({
  id: field.bigUint64(1),
  /** Empty until the member has started. */
  name: field.text(2),
  peerUrls: field.texts(3),
  clientUrls: field.texts(4),
  isLearner: field.bool(5),
});
export type Member = MessageOf<typeof Member>;

/** Lists the members of a cluster. */
export const MemberListRequest = message({ linearizable: field.bool(1) });
export type MemberListRequest = MessageOf<typeof MemberListRequest>;

/** Answer to a member listing. */
export const MemberListResponse = message({ header, members: field.messages(2, Member) });
export type MemberListResponse = MessageOf<typeof MemberListResponse>;
