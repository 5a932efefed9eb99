import { field } from "./field.js";
import { header } from "./header.js";
import { type MessageOf, message } from "./message.js";

/** Asks one member for its state. */
export const StatusRequest = message({});
export type StatusRequest = MessageOf<typeof StatusRequest>;

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
