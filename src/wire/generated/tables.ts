// Generated from proto/ by `npm run generate`. Edit proto/ instead.

import { field } from "../field.js";
import { LeaseStatus } from "../leaseStatus.js";
import { type MessageOf, message } from "../tableCodec.js";
import { KeyValue, ResponseHeader } from "./codecs.js";

export const UserAddOptions = message({
  /** True: the user has no password, and can only authenticate by a client certificate. */
  noPassword: field.bool(1),
});
export type UserAddOptions = MessageOf<typeof UserAddOptions>;

export const User = message({
  name: field.data(1),
  password: field.data(2),
  roles: field.texts(3),
  options: field.message(4, UserAddOptions),
});
export type User = MessageOf<typeof User>;

/** Access of a role to a key or range of keys. */
export const Permission = message({
  /** 0: read, 1: write, 2: both. */
  permType: field.enum(1),
  key: field.data(2),
  /** As in RangeRequest. */
  rangeEnd: field.data(3),
});
export type Permission = MessageOf<typeof Permission>;

export const Role = message({
  name: field.data(1),
  keyPermission: field.messages(2, Permission),
});
export type Role = MessageOf<typeof Role>;

/** Compacts the store: revisions below `revision` can no longer be read. */
export const CompactionRequest = message({
  revision: field.int64(1),
  /** Whether to respond only when the compacted revisions are removed from the backend. */
  physical: field.bool(2),
});
export type CompactionRequest = MessageOf<typeof CompactionRequest>;

/** Response to a compaction. */
export const CompactionResponse = message({
  header: field.message(1, ResponseHeader),
});
export type CompactionResponse = MessageOf<typeof CompactionResponse>;

/** Grants a lease. */
export const LeaseGrantRequest = message({
  /** Requested time to live in seconds. */
  ttl: field.int64(1),
  /** 0: the server chooses. */
  id: field.bigInt64(2),
});
export type LeaseGrantRequest = MessageOf<typeof LeaseGrantRequest>;

/** Response to a grant. */
export const LeaseGrantResponse = message({
  header: field.message(1, ResponseHeader),
  id: field.bigInt64(2),
  /** Granted time to live in seconds. */
  ttl: field.int64(3),
  error: field.text(4),
});
export type LeaseGrantResponse = MessageOf<typeof LeaseGrantResponse>;

/** Revokes a lease and deletes its keys. */
export const LeaseRevokeRequest = message({
  id: field.bigInt64(1),
});
export type LeaseRevokeRequest = MessageOf<typeof LeaseRevokeRequest>;

/** Response to a revocation. */
export const LeaseRevokeResponse = message({
  header: field.message(1, ResponseHeader),
});
export type LeaseRevokeResponse = MessageOf<typeof LeaseRevokeResponse>;

/** Renews a lease. */
export const LeaseKeepAliveRequest = message({
  id: field.bigInt64(1),
});
export type LeaseKeepAliveRequest = MessageOf<typeof LeaseKeepAliveRequest>;

/** Response to a keep-alive. */
export const LeaseKeepAliveResponse = message({
  header: field.message(1, ResponseHeader),
  id: field.bigInt64(2),
  /** New time to live in seconds; 0 or less: the lease does not exist. */
  ttl: field.int64(3),
});
export type LeaseKeepAliveResponse = MessageOf<typeof LeaseKeepAliveResponse>;

/** Queries the remaining time of a lease. */
export const LeaseTimeToLiveRequest = message({
  id: field.bigInt64(1),
  /** Whether to return the keys of the lease. */
  keys: field.bool(2),
});
export type LeaseTimeToLiveRequest = MessageOf<typeof LeaseTimeToLiveRequest>;

/** Response to a time-to-live request. */
export const LeaseTimeToLiveResponse = message({
  header: field.message(1, ResponseHeader),
  id: field.bigInt64(2),
  /** Remaining seconds; -1: the lease does not exist. */
  ttl: field.int64(3),
  /** Time to live at the grant, in seconds. */
  grantedTtl: field.int64(4),
  keys: field.datas(5),
});
export type LeaseTimeToLiveResponse = MessageOf<typeof LeaseTimeToLiveResponse>;

/** Lists all leases. */
export const LeaseLeasesRequest = message({});
export type LeaseLeasesRequest = MessageOf<typeof LeaseLeasesRequest>;

/** Response to a lease listing: the ids of all leases. */
export const LeaseLeasesResponse = message({
  header: field.message(1, ResponseHeader),
  leases: field.messages(2, LeaseStatus),
});
export type LeaseLeasesResponse = MessageOf<typeof LeaseLeasesResponse>;

/** Adds a member to a cluster. */
export const MemberAddRequest = message({
  peerUrls: field.texts(1),
  isLearner: field.bool(2),
});
export type MemberAddRequest = MessageOf<typeof MemberAddRequest>;

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

export const MemberAddResponse = message({
  header: field.message(1, ResponseHeader),
  member: field.message(2, Member),
  members: field.messages(3, Member),
});
export type MemberAddResponse = MessageOf<typeof MemberAddResponse>;

/** Removes a member from a cluster. */
export const MemberRemoveRequest = message({
  id: field.bigUint64(1),
});
export type MemberRemoveRequest = MessageOf<typeof MemberRemoveRequest>;

export const MemberRemoveResponse = message({
  header: field.message(1, ResponseHeader),
  members: field.messages(2, Member),
});
export type MemberRemoveResponse = MessageOf<typeof MemberRemoveResponse>;

/** Changes the peer URLs of a member. */
export const MemberUpdateRequest = message({
  id: field.bigUint64(1),
  peerUrls: field.texts(2),
});
export type MemberUpdateRequest = MessageOf<typeof MemberUpdateRequest>;

export const MemberUpdateResponse = message({
  header: field.message(1, ResponseHeader),
  members: field.messages(2, Member),
});
export type MemberUpdateResponse = MessageOf<typeof MemberUpdateResponse>;

/** Lists the members of a cluster. */
export const MemberListRequest = message({
  linearizable: field.bool(1),
});
export type MemberListRequest = MessageOf<typeof MemberListRequest>;

/** Response to a member listing. */
export const MemberListResponse = message({
  header: field.message(1, ResponseHeader),
  members: field.messages(2, Member),
});
export type MemberListResponse = MessageOf<typeof MemberListResponse>;

/** Promotes a learner to a voting member. */
export const MemberPromoteRequest = message({
  id: field.bigUint64(1),
});
export type MemberPromoteRequest = MessageOf<typeof MemberPromoteRequest>;

export const MemberPromoteResponse = message({
  header: field.message(1, ResponseHeader),
  members: field.messages(2, Member),
});
export type MemberPromoteResponse = MessageOf<typeof MemberPromoteResponse>;

/** Lists, raises or disarms alarms. */
export const AlarmRequest = message({
  /** An `AlarmAction`. */
  action: field.enum(1),
  /** 0: all members. */
  memberId: field.bigUint64(2),
  /** 0: all alarms. */
  alarm: field.enum(3),
});
export type AlarmRequest = MessageOf<typeof AlarmRequest>;

/** A raised alarm. */
export const AlarmMember = message({
  memberId: field.bigUint64(1),
  /** 1: no space, 2: corrupt. */
  alarm: field.enum(2),
});
export type AlarmMember = MessageOf<typeof AlarmMember>;

/** Response with the alarms that the request concerned. */
export const AlarmResponse = message({
  header: field.message(1, ResponseHeader),
  alarms: field.messages(2, AlarmMember),
});
export type AlarmResponse = MessageOf<typeof AlarmResponse>;

/** Queries the state of one member. */
export const StatusRequest = message({});
export type StatusRequest = MessageOf<typeof StatusRequest>;

/** State of a downgrade. */
export const DowngradeInfo = message({
  enabled: field.bool(1),
  /** For example "3.5.0". */
  targetVersion: field.text(2),
});
export type DowngradeInfo = MessageOf<typeof DowngradeInfo>;

/** State of one member. */
export const StatusResponse = message({
  header: field.message(1, ResponseHeader),
  version: field.text(2),
  /** Size of the backend file in bytes. */
  dbSize: field.int64(3),
  /** Member id of the leader; 0: no leader known. */
  leader: field.bigUint64(4),
  raftIndex: field.uint64(5),
  raftTerm: field.uint64(6),
  raftAppliedIndex: field.uint64(7),
  /** Alarms and other problems. */
  errors: field.texts(8),
  /** Bytes of the backend file that are in use. */
  dbSizeInUse: field.int64(9),
  isLearner: field.bool(10),
  /** Version of the backend file's format, for example "3.6.0". Since etcd 3.6; empty while it is unknown. */
  storageVersion: field.text(11),
  /** Quota of the backend file in bytes; negative: no quota. Since etcd 3.6. */
  dbSizeQuota: field.int64(12),
  /** Always present since etcd 3.6. */
  downgradeInfo: field.message(13, DowngradeInfo),
});
export type StatusResponse = MessageOf<typeof StatusResponse>;

export const DefragmentRequest = message({});
export type DefragmentRequest = MessageOf<typeof DefragmentRequest>;

export const DefragmentResponse = message({
  header: field.message(1, ResponseHeader),
});
export type DefragmentResponse = MessageOf<typeof DefragmentResponse>;

export const HashRequest = message({});
export type HashRequest = MessageOf<typeof HashRequest>;

/** Hash of one member's whole backend. */
export const HashResponse = message({
  header: field.message(1, ResponseHeader),
  hash: field.uint32(2),
});
export type HashResponse = MessageOf<typeof HashResponse>;

/** Queries the hash of all keys up to a revision. */
export const HashKVRequest = message({
  /** 0: the newest. */
  revision: field.int64(1),
});
export type HashKVRequest = MessageOf<typeof HashKVRequest>;

/** Hash of all keys up to a revision. */
export const HashKVResponse = message({
  header: field.message(1, ResponseHeader),
  hash: field.uint32(2),
  /** -1: never compacted. */
  compactRevision: field.int64(3),
  /** Revision of the hash. Since etcd 3.6. */
  hashRevision: field.int64(4),
});
export type HashKVResponse = MessageOf<typeof HashKVResponse>;

export const SnapshotRequest = message({});
export type SnapshotRequest = MessageOf<typeof SnapshotRequest>;

/** A piece of a member's backend file. The last piece is the SHA-256 of all others. */
export const SnapshotResponse = message({
  header: field.message(1, ResponseHeader),
  /** Remaining bytes of the file. */
  remainingBytes: field.uint64(2),
  blob: field.data(3),
});
export type SnapshotResponse = MessageOf<typeof SnapshotResponse>;

/** Transfers leadership to another member. */
export const MoveLeaderRequest = message({
  targetId: field.bigUint64(1),
});
export type MoveLeaderRequest = MessageOf<typeof MoveLeaderRequest>;

export const MoveLeaderResponse = message({
  header: field.message(1, ResponseHeader),
});
export type MoveLeaderResponse = MessageOf<typeof MoveLeaderResponse>;

/** Controls a downgrade to an earlier minor version. */
export const DowngradeRequest = message({
  /** A `DowngradeAction`. */
  action: field.enum(1),
  /** Target version. */
  version: field.text(2),
});
export type DowngradeRequest = MessageOf<typeof DowngradeRequest>;

/** Response to a downgrade request. */
export const DowngradeResponse = message({
  header: field.message(1, ResponseHeader),
  /** The cluster version. */
  version: field.text(2),
});
export type DowngradeResponse = MessageOf<typeof DowngradeResponse>;

export const AuthEnableRequest = message({});
export type AuthEnableRequest = MessageOf<typeof AuthEnableRequest>;

export const AuthEnableResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthEnableResponse = MessageOf<typeof AuthEnableResponse>;

export const AuthDisableRequest = message({});
export type AuthDisableRequest = MessageOf<typeof AuthDisableRequest>;

export const AuthDisableResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthDisableResponse = MessageOf<typeof AuthDisableResponse>;

export const AuthStatusRequest = message({});
export type AuthStatusRequest = MessageOf<typeof AuthStatusRequest>;

/** Whether authentication is on. */
export const AuthStatusResponse = message({
  header: field.message(1, ResponseHeader),
  enabled: field.bool(2),
  /** Increases with every change of users and roles. */
  authRevision: field.uint64(3),
});
export type AuthStatusResponse = MessageOf<typeof AuthStatusResponse>;

/** Requests a token. */
export const AuthenticateRequest = message({
  name: field.text(1),
  password: field.text(2),
});
export type AuthenticateRequest = MessageOf<typeof AuthenticateRequest>;

export const AuthenticateResponse = message({
  header: field.message(1, ResponseHeader),
  token: field.text(2),
});
export type AuthenticateResponse = MessageOf<typeof AuthenticateResponse>;

/** Adds a user. */
export const AuthUserAddRequest = message({
  name: field.text(1),
  password: field.text(2),
  options: field.message(3, UserAddOptions),
  /** Since etcd 3.5: the bcrypt hash of the password in base64, instead of `password`. */
  hashedPassword: field.text(4),
});
export type AuthUserAddRequest = MessageOf<typeof AuthUserAddRequest>;

export const AuthUserAddResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthUserAddResponse = MessageOf<typeof AuthUserAddResponse>;

/** Queries the roles of a user. */
export const AuthUserGetRequest = message({
  name: field.text(1),
});
export type AuthUserGetRequest = MessageOf<typeof AuthUserGetRequest>;

export const AuthUserGetResponse = message({
  header: field.message(1, ResponseHeader),
  roles: field.texts(2),
});
export type AuthUserGetResponse = MessageOf<typeof AuthUserGetResponse>;

export const AuthUserListRequest = message({});
export type AuthUserListRequest = MessageOf<typeof AuthUserListRequest>;

export const AuthUserListResponse = message({
  header: field.message(1, ResponseHeader),
  users: field.texts(2),
});
export type AuthUserListResponse = MessageOf<typeof AuthUserListResponse>;

export const AuthUserDeleteRequest = message({
  name: field.text(1),
});
export type AuthUserDeleteRequest = MessageOf<typeof AuthUserDeleteRequest>;

export const AuthUserDeleteResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthUserDeleteResponse = MessageOf<typeof AuthUserDeleteResponse>;

export const AuthUserChangePasswordRequest = message({
  name: field.text(1),
  password: field.text(2),
  /** As in `AuthUserAddRequest`. */
  hashedPassword: field.text(3),
});
export type AuthUserChangePasswordRequest = MessageOf<typeof AuthUserChangePasswordRequest>;

export const AuthUserChangePasswordResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthUserChangePasswordResponse = MessageOf<typeof AuthUserChangePasswordResponse>;

export const AuthUserGrantRoleRequest = message({
  user: field.text(1),
  role: field.text(2),
});
export type AuthUserGrantRoleRequest = MessageOf<typeof AuthUserGrantRoleRequest>;

export const AuthUserGrantRoleResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthUserGrantRoleResponse = MessageOf<typeof AuthUserGrantRoleResponse>;

export const AuthUserRevokeRoleRequest = message({
  name: field.text(1),
  role: field.text(2),
});
export type AuthUserRevokeRoleRequest = MessageOf<typeof AuthUserRevokeRoleRequest>;

export const AuthUserRevokeRoleResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthUserRevokeRoleResponse = MessageOf<typeof AuthUserRevokeRoleResponse>;

export const AuthRoleAddRequest = message({
  name: field.text(1),
});
export type AuthRoleAddRequest = MessageOf<typeof AuthRoleAddRequest>;

export const AuthRoleAddResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthRoleAddResponse = MessageOf<typeof AuthRoleAddResponse>;

/** Queries the permissions of a role. */
export const AuthRoleGetRequest = message({
  role: field.text(1),
});
export type AuthRoleGetRequest = MessageOf<typeof AuthRoleGetRequest>;

export const AuthRoleGetResponse = message({
  header: field.message(1, ResponseHeader),
  perm: field.messages(2, Permission),
});
export type AuthRoleGetResponse = MessageOf<typeof AuthRoleGetResponse>;

export const AuthRoleListRequest = message({});
export type AuthRoleListRequest = MessageOf<typeof AuthRoleListRequest>;

export const AuthRoleListResponse = message({
  header: field.message(1, ResponseHeader),
  roles: field.texts(2),
});
export type AuthRoleListResponse = MessageOf<typeof AuthRoleListResponse>;

export const AuthRoleDeleteRequest = message({
  role: field.text(1),
});
export type AuthRoleDeleteRequest = MessageOf<typeof AuthRoleDeleteRequest>;

export const AuthRoleDeleteResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthRoleDeleteResponse = MessageOf<typeof AuthRoleDeleteResponse>;

export const AuthRoleGrantPermissionRequest = message({
  name: field.text(1),
  perm: field.message(2, Permission),
});
export type AuthRoleGrantPermissionRequest = MessageOf<typeof AuthRoleGrantPermissionRequest>;

export const AuthRoleGrantPermissionResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthRoleGrantPermissionResponse = MessageOf<typeof AuthRoleGrantPermissionResponse>;

export const AuthRoleRevokePermissionRequest = message({
  role: field.text(1),
  key: field.data(2),
  /** As in RangeRequest. */
  rangeEnd: field.data(3),
});
export type AuthRoleRevokePermissionRequest = MessageOf<typeof AuthRoleRevokePermissionRequest>;

export const AuthRoleRevokePermissionResponse = message({
  header: field.message(1, ResponseHeader),
});
export type AuthRoleRevokePermissionResponse = MessageOf<typeof AuthRoleRevokePermissionResponse>;

export const LeaseCheckpoint = message({
  id: field.bigInt64(1),
  remainingTtl: field.int64(2),
});
export type LeaseCheckpoint = MessageOf<typeof LeaseCheckpoint>;

export const LeaseCheckpointRequest = message({
  checkpoints: field.messages(1, LeaseCheckpoint),
});
export type LeaseCheckpointRequest = MessageOf<typeof LeaseCheckpointRequest>;

export const LeaseCheckpointResponse = message({
  header: field.message(1, ResponseHeader),
});
export type LeaseCheckpointResponse = MessageOf<typeof LeaseCheckpointResponse>;

/** Acquires a mutex, and waits until it is free. */
export const LockRequest = message({
  name: field.data(1),
  /** Lease of the mutex; 0: a new lease of 60 seconds. */
  lease: field.bigInt64(2),
});
export type LockRequest = MessageOf<typeof LockRequest>;

/** Response to an acquired mutex. */
export const LockResponse = message({
  header: field.message(1, ResponseHeader),
  /** Key that exists while the mutex is held. Needed to unlock it. */
  key: field.data(2),
});
export type LockResponse = MessageOf<typeof LockResponse>;

/** Releases a mutex. */
export const UnlockRequest = message({
  key: field.data(1),
});
export type UnlockRequest = MessageOf<typeof UnlockRequest>;

/** Response to an unlock. */
export const UnlockResponse = message({
  header: field.message(1, ResponseHeader),
});
export type UnlockResponse = MessageOf<typeof UnlockResponse>;

/** Campaigns for leadership, and waits until it is won. */
export const CampaignRequest = message({
  name: field.data(1),
  /** Lease of the leadership; 0: a new lease of 60 seconds. */
  lease: field.bigInt64(2),
  value: field.data(3),
});
export type CampaignRequest = MessageOf<typeof CampaignRequest>;

/** A leader or candidate. */
export const LeaderKey = message({
  /** Name of the election. */
  name: field.data(1),
  key: field.data(2),
  /** Create revision of the key. */
  rev: field.int64(3),
  lease: field.bigInt64(4),
});
export type LeaderKey = MessageOf<typeof LeaderKey>;

/** Response to a campaign that was won. */
export const CampaignResponse = message({
  header: field.message(1, ResponseHeader),
  leader: field.message(2, LeaderKey),
});
export type CampaignResponse = MessageOf<typeof CampaignResponse>;

/** Queries the leader, once (Leader) or continuously (Observe). */
export const LeaderRequest = message({
  name: field.data(1),
});
export type LeaderRequest = MessageOf<typeof LeaderRequest>;

/** The current leader. */
export const LeaderResponse = message({
  header: field.message(1, ResponseHeader),
  kv: field.message(2, KeyValue),
});
export type LeaderResponse = MessageOf<typeof LeaderResponse>;

/** Gives up leadership. */
export const ResignRequest = message({
  leader: field.message(1, LeaderKey),
});
export type ResignRequest = MessageOf<typeof ResignRequest>;

/** Response to a resignation. */
export const ResignResponse = message({
  header: field.message(1, ResponseHeader),
});
export type ResignResponse = MessageOf<typeof ResignResponse>;

/** Changes the leader's value. */
export const ProclaimRequest = message({
  leader: field.message(1, LeaderKey),
  value: field.data(2),
});
export type ProclaimRequest = MessageOf<typeof ProclaimRequest>;

/** Response to a proclamation. */
export const ProclaimResponse = message({
  header: field.message(1, ResponseHeader),
});
export type ProclaimResponse = MessageOf<typeof ProclaimResponse>;
