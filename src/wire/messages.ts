/**
 * The messages of etcd's v3 API that the proxy looks into. Each name is both the interface of the decoded
 * message and its codec: `RangeRequest.decode(bytes)` gives a `RangeRequest`. Field names are etcd's in camel case.
 *
 * int64 fields are numbers (beyond 2^53 the nearest double; encoding clamps to int64), ids and leases are
 * bigints. Absent byte fields decode to `EMPTY`. Enums decode to whatever number was sent, known or not.
 */
export {
  AuthenticateRequest,
  AuthenticateResponse,
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthRoleGrantPermissionRequest,
  AuthRoleListResponse,
  AuthRoleRevokePermissionRequest,
  AuthStatusResponse,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserGetRequest,
  AuthUserGetResponse,
  AuthUserGrantRoleRequest,
  AuthUserListResponse,
  AuthUserRevokeRoleRequest,
  Permission,
  UserAddOptions,
} from "./auth.js";
export type { Codec, Init } from "./codec.js";
export { CompactionRequest, CompactionResponse } from "./compaction.js";
export {
  CampaignRequest,
  CampaignResponse,
  LeaderKey,
  LeaderRequest,
  LeaderResponse,
  ProclaimRequest,
  ProclaimResponse,
  ResignRequest,
  ResignResponse,
} from "./election.js";
export { ResponseHeader } from "./header.js";
export { Event, EventType, KeyValue } from "./keyvalue.js";
export {
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  SortOrder,
  SortTarget,
} from "./kv.js";
export {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
} from "./lease.js";
export { LockRequest, LockResponse, UnlockRequest, UnlockResponse } from "./lock.js";
export {
  DowngradeInfo,
  Member,
  MemberListRequest,
  MemberListResponse,
  StatusRequest,
  StatusResponse,
} from "./maintenance.js";
export { EMPTY, GIVEN_EMPTY } from "./reader.js";
export {
  Compare,
  CompareResult,
  CompareTarget,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from "./txn.js";
export {
  AlarmAction,
  AlarmMember,
  AlarmRequest,
  AlarmResponse,
  DowngradeAction,
  DowngradeRequest,
  DowngradeResponse,
  HashKVRequest,
  HashKVResponse,
  HashResponse,
  MemberAddRequest,
  MemberPromoteRequest,
  MemberRemoveRequest,
  MemberUpdateRequest,
  MoveLeaderRequest,
  SnapshotResponse,
} from "./upkeep.js";
export { FilterType, WatchCreateRequest, WatchRequest, WatchResponse } from "./watchmessages.js";
