// Generated from proto/ by `npm run generate`. Edit proto/ instead.

/** A field of a message. */
export interface FieldSchema {
  readonly name: string;
  readonly id: number;
  /** A protobuf scalar type, or the full name of a message or enum. */
  readonly type: string;
  readonly repeated?: true;
  /** Name of its oneof. */
  readonly oneof?: string;
}

export interface MethodSchema {
  /** Full names of messages. */
  readonly request: string;
  readonly response: string;
  readonly requestStream?: true;
  readonly responseStream?: true;
}

/** Fields by the full name of their message. */
export const messages: Readonly<Record<string, readonly FieldSchema[]>> = {
  "mvccpb.KeyValue": [
    { name: "key", id: 1, type: "bytes" },
    { name: "create_revision", id: 2, type: "int64" },
    { name: "mod_revision", id: 3, type: "int64" },
    { name: "version", id: 4, type: "int64" },
    { name: "value", id: 5, type: "bytes" },
    { name: "lease", id: 6, type: "int64" },
  ],
  "mvccpb.Event": [
    { name: "type", id: 1, type: "mvccpb.Event.EventType" },
    { name: "kv", id: 2, type: "mvccpb.KeyValue" },
    { name: "prev_kv", id: 3, type: "mvccpb.KeyValue" },
  ],
  "authpb.UserAddOptions": [{ name: "no_password", id: 1, type: "bool" }],
  "authpb.User": [
    { name: "name", id: 1, type: "bytes" },
    { name: "password", id: 2, type: "bytes" },
    { name: "roles", id: 3, type: "string", repeated: true },
    { name: "options", id: 4, type: "authpb.UserAddOptions" },
  ],
  "authpb.Permission": [
    { name: "permType", id: 1, type: "authpb.Permission.Type" },
    { name: "key", id: 2, type: "bytes" },
    { name: "range_end", id: 3, type: "bytes" },
  ],
  "authpb.Role": [
    { name: "name", id: 1, type: "bytes" },
    { name: "keyPermission", id: 2, type: "authpb.Permission", repeated: true },
  ],
  "etcdserverpb.ResponseHeader": [
    { name: "cluster_id", id: 1, type: "uint64" },
    { name: "member_id", id: 2, type: "uint64" },
    { name: "revision", id: 3, type: "int64" },
    { name: "raft_term", id: 4, type: "uint64" },
  ],
  "etcdserverpb.RangeRequest": [
    { name: "key", id: 1, type: "bytes" },
    { name: "range_end", id: 2, type: "bytes" },
    { name: "limit", id: 3, type: "int64" },
    { name: "revision", id: 4, type: "int64" },
    { name: "sort_order", id: 5, type: "etcdserverpb.RangeRequest.SortOrder" },
    { name: "sort_target", id: 6, type: "etcdserverpb.RangeRequest.SortTarget" },
    { name: "serializable", id: 7, type: "bool" },
    { name: "keys_only", id: 8, type: "bool" },
    { name: "count_only", id: 9, type: "bool" },
    { name: "min_mod_revision", id: 10, type: "int64" },
    { name: "max_mod_revision", id: 11, type: "int64" },
    { name: "min_create_revision", id: 12, type: "int64" },
    { name: "max_create_revision", id: 13, type: "int64" },
  ],
  "etcdserverpb.RangeResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "kvs", id: 2, type: "mvccpb.KeyValue", repeated: true },
    { name: "more", id: 3, type: "bool" },
    { name: "count", id: 4, type: "int64" },
  ],
  "etcdserverpb.PutRequest": [
    { name: "key", id: 1, type: "bytes" },
    { name: "value", id: 2, type: "bytes" },
    { name: "lease", id: 3, type: "int64" },
    { name: "prev_kv", id: 4, type: "bool" },
    { name: "ignore_value", id: 5, type: "bool" },
    { name: "ignore_lease", id: 6, type: "bool" },
  ],
  "etcdserverpb.PutResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "prev_kv", id: 2, type: "mvccpb.KeyValue" },
  ],
  "etcdserverpb.DeleteRangeRequest": [
    { name: "key", id: 1, type: "bytes" },
    { name: "range_end", id: 2, type: "bytes" },
    { name: "prev_kv", id: 3, type: "bool" },
  ],
  "etcdserverpb.DeleteRangeResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "deleted", id: 2, type: "int64" },
    { name: "prev_kvs", id: 3, type: "mvccpb.KeyValue", repeated: true },
  ],
  "etcdserverpb.TxnRequest": [
    { name: "compare", id: 1, type: "etcdserverpb.Compare", repeated: true },
    { name: "success", id: 2, type: "etcdserverpb.RequestOp", repeated: true },
    { name: "failure", id: 3, type: "etcdserverpb.RequestOp", repeated: true },
  ],
  "etcdserverpb.Compare": [
    { name: "result", id: 1, type: "etcdserverpb.Compare.CompareResult" },
    { name: "target", id: 2, type: "etcdserverpb.Compare.CompareTarget" },
    { name: "key", id: 3, type: "bytes" },
    { name: "version", id: 4, type: "int64", oneof: "target_union" },
    { name: "create_revision", id: 5, type: "int64", oneof: "target_union" },
    { name: "mod_revision", id: 6, type: "int64", oneof: "target_union" },
    { name: "value", id: 7, type: "bytes", oneof: "target_union" },
    { name: "lease", id: 8, type: "int64", oneof: "target_union" },
    { name: "range_end", id: 64, type: "bytes" },
  ],
  "etcdserverpb.RequestOp": [
    { name: "request_range", id: 1, type: "etcdserverpb.RangeRequest", oneof: "request" },
    { name: "request_put", id: 2, type: "etcdserverpb.PutRequest", oneof: "request" },
    { name: "request_delete_range", id: 3, type: "etcdserverpb.DeleteRangeRequest", oneof: "request" },
    { name: "request_txn", id: 4, type: "etcdserverpb.TxnRequest", oneof: "request" },
  ],
  "etcdserverpb.TxnResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "succeeded", id: 2, type: "bool" },
    { name: "responses", id: 3, type: "etcdserverpb.ResponseOp", repeated: true },
  ],
  "etcdserverpb.ResponseOp": [
    { name: "response_range", id: 1, type: "etcdserverpb.RangeResponse", oneof: "response" },
    { name: "response_put", id: 2, type: "etcdserverpb.PutResponse", oneof: "response" },
    { name: "response_delete_range", id: 3, type: "etcdserverpb.DeleteRangeResponse", oneof: "response" },
    { name: "response_txn", id: 4, type: "etcdserverpb.TxnResponse", oneof: "response" },
  ],
  "etcdserverpb.CompactionRequest": [
    { name: "revision", id: 1, type: "int64" },
    { name: "physical", id: 2, type: "bool" },
  ],
  "etcdserverpb.CompactionResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.WatchRequest": [
    { name: "create_request", id: 1, type: "etcdserverpb.WatchCreateRequest", oneof: "request_union" },
    { name: "cancel_request", id: 2, type: "etcdserverpb.WatchCancelRequest", oneof: "request_union" },
    { name: "progress_request", id: 3, type: "etcdserverpb.WatchProgressRequest", oneof: "request_union" },
  ],
  "etcdserverpb.WatchCreateRequest": [
    { name: "key", id: 1, type: "bytes" },
    { name: "range_end", id: 2, type: "bytes" },
    { name: "start_revision", id: 3, type: "int64" },
    { name: "progress_notify", id: 4, type: "bool" },
    { name: "filters", id: 5, type: "etcdserverpb.WatchCreateRequest.FilterType", repeated: true },
    { name: "prev_kv", id: 6, type: "bool" },
    { name: "watch_id", id: 7, type: "int64" },
    { name: "fragment", id: 8, type: "bool" },
  ],
  "etcdserverpb.WatchCancelRequest": [{ name: "watch_id", id: 1, type: "int64" }],
  "etcdserverpb.WatchProgressRequest": [],
  "etcdserverpb.WatchResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "watch_id", id: 2, type: "int64" },
    { name: "created", id: 3, type: "bool" },
    { name: "canceled", id: 4, type: "bool" },
    { name: "compact_revision", id: 5, type: "int64" },
    { name: "cancel_reason", id: 6, type: "string" },
    { name: "fragment", id: 7, type: "bool" },
    { name: "events", id: 11, type: "mvccpb.Event", repeated: true },
  ],
  "etcdserverpb.LeaseGrantRequest": [
    { name: "TTL", id: 1, type: "int64" },
    { name: "ID", id: 2, type: "int64" },
  ],
  "etcdserverpb.LeaseGrantResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "ID", id: 2, type: "int64" },
    { name: "TTL", id: 3, type: "int64" },
    { name: "error", id: 4, type: "string" },
  ],
  "etcdserverpb.LeaseRevokeRequest": [{ name: "ID", id: 1, type: "int64" }],
  "etcdserverpb.LeaseRevokeResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.LeaseKeepAliveRequest": [{ name: "ID", id: 1, type: "int64" }],
  "etcdserverpb.LeaseKeepAliveResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "ID", id: 2, type: "int64" },
    { name: "TTL", id: 3, type: "int64" },
  ],
  "etcdserverpb.LeaseTimeToLiveRequest": [
    { name: "ID", id: 1, type: "int64" },
    { name: "keys", id: 2, type: "bool" },
  ],
  "etcdserverpb.LeaseTimeToLiveResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "ID", id: 2, type: "int64" },
    { name: "TTL", id: 3, type: "int64" },
    { name: "grantedTTL", id: 4, type: "int64" },
    { name: "keys", id: 5, type: "bytes", repeated: true },
  ],
  "etcdserverpb.LeaseLeasesRequest": [],
  "etcdserverpb.LeaseLeasesResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "leases", id: 2, type: "etcdserverpb.LeaseStatus", repeated: true },
  ],
  "etcdserverpb.LeaseStatus": [{ name: "ID", id: 1, type: "int64" }],
  "etcdserverpb.MemberAddRequest": [
    { name: "peerURLs", id: 1, type: "string", repeated: true },
    { name: "isLearner", id: 2, type: "bool" },
  ],
  "etcdserverpb.MemberAddResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "member", id: 2, type: "etcdserverpb.Member" },
    { name: "members", id: 3, type: "etcdserverpb.Member", repeated: true },
  ],
  "etcdserverpb.Member": [
    { name: "ID", id: 1, type: "uint64" },
    { name: "name", id: 2, type: "string" },
    { name: "peerURLs", id: 3, type: "string", repeated: true },
    { name: "clientURLs", id: 4, type: "string", repeated: true },
    { name: "isLearner", id: 5, type: "bool" },
  ],
  "etcdserverpb.MemberRemoveRequest": [{ name: "ID", id: 1, type: "uint64" }],
  "etcdserverpb.MemberRemoveResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "members", id: 2, type: "etcdserverpb.Member", repeated: true },
  ],
  "etcdserverpb.MemberUpdateRequest": [
    { name: "ID", id: 1, type: "uint64" },
    { name: "peerURLs", id: 2, type: "string", repeated: true },
  ],
  "etcdserverpb.MemberUpdateResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "members", id: 2, type: "etcdserverpb.Member", repeated: true },
  ],
  "etcdserverpb.MemberListRequest": [{ name: "linearizable", id: 1, type: "bool" }],
  "etcdserverpb.MemberListResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "members", id: 2, type: "etcdserverpb.Member", repeated: true },
  ],
  "etcdserverpb.MemberPromoteRequest": [{ name: "ID", id: 1, type: "uint64" }],
  "etcdserverpb.MemberPromoteResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "members", id: 2, type: "etcdserverpb.Member", repeated: true },
  ],
  "etcdserverpb.AlarmRequest": [
    { name: "action", id: 1, type: "etcdserverpb.AlarmRequest.AlarmAction" },
    { name: "memberID", id: 2, type: "uint64" },
    { name: "alarm", id: 3, type: "etcdserverpb.AlarmType" },
  ],
  "etcdserverpb.AlarmResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "alarms", id: 2, type: "etcdserverpb.AlarmMember", repeated: true },
  ],
  "etcdserverpb.AlarmMember": [
    { name: "memberID", id: 1, type: "uint64" },
    { name: "alarm", id: 2, type: "etcdserverpb.AlarmType" },
  ],
  "etcdserverpb.StatusRequest": [],
  "etcdserverpb.StatusResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "version", id: 2, type: "string" },
    { name: "dbSize", id: 3, type: "int64" },
    { name: "leader", id: 4, type: "uint64" },
    { name: "raftIndex", id: 5, type: "uint64" },
    { name: "raftTerm", id: 6, type: "uint64" },
    { name: "raftAppliedIndex", id: 7, type: "uint64" },
    { name: "errors", id: 8, type: "string", repeated: true },
    { name: "dbSizeInUse", id: 9, type: "int64" },
    { name: "isLearner", id: 10, type: "bool" },
    { name: "storageVersion", id: 11, type: "string" },
    { name: "dbSizeQuota", id: 12, type: "int64" },
    { name: "downgradeInfo", id: 13, type: "etcdserverpb.DowngradeInfo" },
  ],
  "etcdserverpb.DowngradeInfo": [
    { name: "enabled", id: 1, type: "bool" },
    { name: "targetVersion", id: 2, type: "string" },
  ],
  "etcdserverpb.DefragmentRequest": [],
  "etcdserverpb.DefragmentResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.HashRequest": [],
  "etcdserverpb.HashResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "hash", id: 2, type: "uint32" },
  ],
  "etcdserverpb.HashKVRequest": [{ name: "revision", id: 1, type: "int64" }],
  "etcdserverpb.HashKVResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "hash", id: 2, type: "uint32" },
    { name: "compact_revision", id: 3, type: "int64" },
    { name: "hash_revision", id: 4, type: "int64" },
  ],
  "etcdserverpb.SnapshotRequest": [],
  "etcdserverpb.SnapshotResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "remaining_bytes", id: 2, type: "uint64" },
    { name: "blob", id: 3, type: "bytes" },
  ],
  "etcdserverpb.MoveLeaderRequest": [{ name: "targetID", id: 1, type: "uint64" }],
  "etcdserverpb.MoveLeaderResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.DowngradeRequest": [
    { name: "action", id: 1, type: "etcdserverpb.DowngradeRequest.DowngradeAction" },
    { name: "version", id: 2, type: "string" },
  ],
  "etcdserverpb.DowngradeResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "version", id: 2, type: "string" },
  ],
  "etcdserverpb.AuthEnableRequest": [],
  "etcdserverpb.AuthEnableResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.AuthDisableRequest": [],
  "etcdserverpb.AuthDisableResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.AuthStatusRequest": [],
  "etcdserverpb.AuthStatusResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "enabled", id: 2, type: "bool" },
    { name: "authRevision", id: 3, type: "uint64" },
  ],
  "etcdserverpb.AuthenticateRequest": [
    { name: "name", id: 1, type: "string" },
    { name: "password", id: 2, type: "string" },
  ],
  "etcdserverpb.AuthenticateResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "token", id: 2, type: "string" },
  ],
  "etcdserverpb.AuthUserAddRequest": [
    { name: "name", id: 1, type: "string" },
    { name: "password", id: 2, type: "string" },
    { name: "options", id: 3, type: "authpb.UserAddOptions" },
    { name: "hashedPassword", id: 4, type: "string" },
  ],
  "etcdserverpb.AuthUserAddResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.AuthUserGetRequest": [{ name: "name", id: 1, type: "string" }],
  "etcdserverpb.AuthUserGetResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "roles", id: 2, type: "string", repeated: true },
  ],
  "etcdserverpb.AuthUserListRequest": [],
  "etcdserverpb.AuthUserListResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "users", id: 2, type: "string", repeated: true },
  ],
  "etcdserverpb.AuthUserDeleteRequest": [{ name: "name", id: 1, type: "string" }],
  "etcdserverpb.AuthUserDeleteResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.AuthUserChangePasswordRequest": [
    { name: "name", id: 1, type: "string" },
    { name: "password", id: 2, type: "string" },
    { name: "hashedPassword", id: 3, type: "string" },
  ],
  "etcdserverpb.AuthUserChangePasswordResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
  ],
  "etcdserverpb.AuthUserGrantRoleRequest": [
    { name: "user", id: 1, type: "string" },
    { name: "role", id: 2, type: "string" },
  ],
  "etcdserverpb.AuthUserGrantRoleResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.AuthUserRevokeRoleRequest": [
    { name: "name", id: 1, type: "string" },
    { name: "role", id: 2, type: "string" },
  ],
  "etcdserverpb.AuthUserRevokeRoleResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.AuthRoleAddRequest": [{ name: "name", id: 1, type: "string" }],
  "etcdserverpb.AuthRoleAddResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.AuthRoleGetRequest": [{ name: "role", id: 1, type: "string" }],
  "etcdserverpb.AuthRoleGetResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "perm", id: 2, type: "authpb.Permission", repeated: true },
  ],
  "etcdserverpb.AuthRoleListRequest": [],
  "etcdserverpb.AuthRoleListResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "roles", id: 2, type: "string", repeated: true },
  ],
  "etcdserverpb.AuthRoleDeleteRequest": [{ name: "role", id: 1, type: "string" }],
  "etcdserverpb.AuthRoleDeleteResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "etcdserverpb.AuthRoleGrantPermissionRequest": [
    { name: "name", id: 1, type: "string" },
    { name: "perm", id: 2, type: "authpb.Permission" },
  ],
  "etcdserverpb.AuthRoleGrantPermissionResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
  ],
  "etcdserverpb.AuthRoleRevokePermissionRequest": [
    { name: "role", id: 1, type: "string" },
    { name: "key", id: 2, type: "bytes" },
    { name: "range_end", id: 3, type: "bytes" },
  ],
  "etcdserverpb.AuthRoleRevokePermissionResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
  ],
  "etcdserverpb.LeaseCheckpoint": [
    { name: "ID", id: 1, type: "int64" },
    { name: "remaining_TTL", id: 2, type: "int64" },
  ],
  "etcdserverpb.LeaseCheckpointRequest": [
    { name: "checkpoints", id: 1, type: "etcdserverpb.LeaseCheckpoint", repeated: true },
  ],
  "etcdserverpb.LeaseCheckpointResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "v3lockpb.LockRequest": [
    { name: "name", id: 1, type: "bytes" },
    { name: "lease", id: 2, type: "int64" },
  ],
  "v3lockpb.LockResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "key", id: 2, type: "bytes" },
  ],
  "v3lockpb.UnlockRequest": [{ name: "key", id: 1, type: "bytes" }],
  "v3lockpb.UnlockResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "v3electionpb.CampaignRequest": [
    { name: "name", id: 1, type: "bytes" },
    { name: "lease", id: 2, type: "int64" },
    { name: "value", id: 3, type: "bytes" },
  ],
  "v3electionpb.CampaignResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "leader", id: 2, type: "v3electionpb.LeaderKey" },
  ],
  "v3electionpb.LeaderKey": [
    { name: "name", id: 1, type: "bytes" },
    { name: "key", id: 2, type: "bytes" },
    { name: "rev", id: 3, type: "int64" },
    { name: "lease", id: 4, type: "int64" },
  ],
  "v3electionpb.LeaderRequest": [{ name: "name", id: 1, type: "bytes" }],
  "v3electionpb.LeaderResponse": [
    { name: "header", id: 1, type: "etcdserverpb.ResponseHeader" },
    { name: "kv", id: 2, type: "mvccpb.KeyValue" },
  ],
  "v3electionpb.ResignRequest": [{ name: "leader", id: 1, type: "v3electionpb.LeaderKey" }],
  "v3electionpb.ResignResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "v3electionpb.ProclaimRequest": [
    { name: "leader", id: 1, type: "v3electionpb.LeaderKey" },
    { name: "value", id: 2, type: "bytes" },
  ],
  "v3electionpb.ProclaimResponse": [{ name: "header", id: 1, type: "etcdserverpb.ResponseHeader" }],
  "grpc.health.v1.HealthCheckRequest": [{ name: "service", id: 1, type: "string" }],
  "grpc.health.v1.HealthCheckResponse": [
    { name: "status", id: 1, type: "grpc.health.v1.HealthCheckResponse.ServingStatus" },
  ],
  "grpc.reflection.v1.ServerReflectionRequest": [
    { name: "host", id: 1, type: "string" },
    { name: "file_by_filename", id: 3, type: "string", oneof: "message_request" },
    { name: "file_containing_symbol", id: 4, type: "string", oneof: "message_request" },
    {
      name: "file_containing_extension",
      id: 5,
      type: "grpc.reflection.v1.ExtensionRequest",
      oneof: "message_request",
    },
    { name: "all_extension_numbers_of_type", id: 6, type: "string", oneof: "message_request" },
    { name: "list_services", id: 7, type: "string", oneof: "message_request" },
  ],
  "grpc.reflection.v1.ExtensionRequest": [
    { name: "containing_type", id: 1, type: "string" },
    { name: "extension_number", id: 2, type: "int32" },
  ],
  "grpc.reflection.v1.ServerReflectionResponse": [
    { name: "valid_host", id: 1, type: "string" },
    { name: "original_request", id: 2, type: "grpc.reflection.v1.ServerReflectionRequest" },
    {
      name: "file_descriptor_response",
      id: 4,
      type: "grpc.reflection.v1.FileDescriptorResponse",
      oneof: "message_response",
    },
    {
      name: "all_extension_numbers_response",
      id: 5,
      type: "grpc.reflection.v1.ExtensionNumberResponse",
      oneof: "message_response",
    },
    {
      name: "list_services_response",
      id: 6,
      type: "grpc.reflection.v1.ListServiceResponse",
      oneof: "message_response",
    },
    { name: "error_response", id: 7, type: "grpc.reflection.v1.ErrorResponse", oneof: "message_response" },
  ],
  "grpc.reflection.v1.FileDescriptorResponse": [
    { name: "file_descriptor_proto", id: 1, type: "bytes", repeated: true },
  ],
  "grpc.reflection.v1.ExtensionNumberResponse": [
    { name: "base_type_name", id: 1, type: "string" },
    { name: "extension_number", id: 2, type: "int32", repeated: true },
  ],
  "grpc.reflection.v1.ListServiceResponse": [
    { name: "service", id: 1, type: "grpc.reflection.v1.ServiceResponse", repeated: true },
  ],
  "grpc.reflection.v1.ServiceResponse": [{ name: "name", id: 1, type: "string" }],
  "grpc.reflection.v1.ErrorResponse": [
    { name: "error_code", id: 1, type: "int32" },
    { name: "error_message", id: 2, type: "string" },
  ],
  "grpc.reflection.v1alpha.ServerReflectionRequest": [
    { name: "host", id: 1, type: "string" },
    { name: "file_by_filename", id: 3, type: "string", oneof: "message_request" },
    { name: "file_containing_symbol", id: 4, type: "string", oneof: "message_request" },
    {
      name: "file_containing_extension",
      id: 5,
      type: "grpc.reflection.v1alpha.ExtensionRequest",
      oneof: "message_request",
    },
    { name: "all_extension_numbers_of_type", id: 6, type: "string", oneof: "message_request" },
    { name: "list_services", id: 7, type: "string", oneof: "message_request" },
  ],
  "grpc.reflection.v1alpha.ExtensionRequest": [
    { name: "containing_type", id: 1, type: "string" },
    { name: "extension_number", id: 2, type: "int32" },
  ],
  "grpc.reflection.v1alpha.ServerReflectionResponse": [
    { name: "valid_host", id: 1, type: "string" },
    { name: "original_request", id: 2, type: "grpc.reflection.v1alpha.ServerReflectionRequest" },
    {
      name: "file_descriptor_response",
      id: 4,
      type: "grpc.reflection.v1alpha.FileDescriptorResponse",
      oneof: "message_response",
    },
    {
      name: "all_extension_numbers_response",
      id: 5,
      type: "grpc.reflection.v1alpha.ExtensionNumberResponse",
      oneof: "message_response",
    },
    {
      name: "list_services_response",
      id: 6,
      type: "grpc.reflection.v1alpha.ListServiceResponse",
      oneof: "message_response",
    },
    {
      name: "error_response",
      id: 7,
      type: "grpc.reflection.v1alpha.ErrorResponse",
      oneof: "message_response",
    },
  ],
  "grpc.reflection.v1alpha.FileDescriptorResponse": [
    { name: "file_descriptor_proto", id: 1, type: "bytes", repeated: true },
  ],
  "grpc.reflection.v1alpha.ExtensionNumberResponse": [
    { name: "base_type_name", id: 1, type: "string" },
    { name: "extension_number", id: 2, type: "int32", repeated: true },
  ],
  "grpc.reflection.v1alpha.ListServiceResponse": [
    { name: "service", id: 1, type: "grpc.reflection.v1alpha.ServiceResponse", repeated: true },
  ],
  "grpc.reflection.v1alpha.ServiceResponse": [{ name: "name", id: 1, type: "string" }],
  "grpc.reflection.v1alpha.ErrorResponse": [
    { name: "error_code", id: 1, type: "int32" },
    { name: "error_message", id: 2, type: "string" },
  ],
};

/** Numbers by name, by the full name of the enum. */
export const enums: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "mvccpb.Event.EventType": { PUT: 0, DELETE: 1 },
  "authpb.Permission.Type": { READ: 0, WRITE: 1, READWRITE: 2 },
  "etcdserverpb.RangeRequest.SortOrder": { NONE: 0, ASCEND: 1, DESCEND: 2 },
  "etcdserverpb.RangeRequest.SortTarget": { KEY: 0, VERSION: 1, CREATE: 2, MOD: 3, VALUE: 4 },
  "etcdserverpb.Compare.CompareResult": { EQUAL: 0, GREATER: 1, LESS: 2, NOT_EQUAL: 3 },
  "etcdserverpb.Compare.CompareTarget": { VERSION: 0, CREATE: 1, MOD: 2, VALUE: 3, LEASE: 4 },
  "etcdserverpb.WatchCreateRequest.FilterType": { NOPUT: 0, NODELETE: 1 },
  "etcdserverpb.AlarmRequest.AlarmAction": { GET: 0, ACTIVATE: 1, DEACTIVATE: 2 },
  "etcdserverpb.AlarmType": { NONE: 0, NOSPACE: 1, CORRUPT: 2 },
  "etcdserverpb.DowngradeRequest.DowngradeAction": { VALIDATE: 0, ENABLE: 1, CANCEL: 2 },
  "grpc.health.v1.HealthCheckResponse.ServingStatus": {
    UNKNOWN: 0,
    SERVING: 1,
    NOT_SERVING: 2,
    SERVICE_UNKNOWN: 3,
  },
};

/** Methods by name, by the full name of the service. */
export const services: Readonly<Record<string, Readonly<Record<string, MethodSchema>>>> = {
  "etcdserverpb.KV": {
    Range: { request: "etcdserverpb.RangeRequest", response: "etcdserverpb.RangeResponse" },
    Put: { request: "etcdserverpb.PutRequest", response: "etcdserverpb.PutResponse" },
    DeleteRange: { request: "etcdserverpb.DeleteRangeRequest", response: "etcdserverpb.DeleteRangeResponse" },
    Txn: { request: "etcdserverpb.TxnRequest", response: "etcdserverpb.TxnResponse" },
    Compact: { request: "etcdserverpb.CompactionRequest", response: "etcdserverpb.CompactionResponse" },
  },
  "etcdserverpb.Watch": {
    Watch: {
      request: "etcdserverpb.WatchRequest",
      response: "etcdserverpb.WatchResponse",
      requestStream: true,
      responseStream: true,
    },
  },
  "etcdserverpb.Lease": {
    LeaseGrant: { request: "etcdserverpb.LeaseGrantRequest", response: "etcdserverpb.LeaseGrantResponse" },
    LeaseRevoke: { request: "etcdserverpb.LeaseRevokeRequest", response: "etcdserverpb.LeaseRevokeResponse" },
    LeaseKeepAlive: {
      request: "etcdserverpb.LeaseKeepAliveRequest",
      response: "etcdserverpb.LeaseKeepAliveResponse",
      requestStream: true,
      responseStream: true,
    },
    LeaseTimeToLive: {
      request: "etcdserverpb.LeaseTimeToLiveRequest",
      response: "etcdserverpb.LeaseTimeToLiveResponse",
    },
    LeaseLeases: { request: "etcdserverpb.LeaseLeasesRequest", response: "etcdserverpb.LeaseLeasesResponse" },
  },
  "etcdserverpb.Cluster": {
    MemberAdd: { request: "etcdserverpb.MemberAddRequest", response: "etcdserverpb.MemberAddResponse" },
    MemberRemove: {
      request: "etcdserverpb.MemberRemoveRequest",
      response: "etcdserverpb.MemberRemoveResponse",
    },
    MemberUpdate: {
      request: "etcdserverpb.MemberUpdateRequest",
      response: "etcdserverpb.MemberUpdateResponse",
    },
    MemberList: { request: "etcdserverpb.MemberListRequest", response: "etcdserverpb.MemberListResponse" },
    MemberPromote: {
      request: "etcdserverpb.MemberPromoteRequest",
      response: "etcdserverpb.MemberPromoteResponse",
    },
  },
  "etcdserverpb.Maintenance": {
    Alarm: { request: "etcdserverpb.AlarmRequest", response: "etcdserverpb.AlarmResponse" },
    Status: { request: "etcdserverpb.StatusRequest", response: "etcdserverpb.StatusResponse" },
    Defragment: { request: "etcdserverpb.DefragmentRequest", response: "etcdserverpb.DefragmentResponse" },
    Hash: { request: "etcdserverpb.HashRequest", response: "etcdserverpb.HashResponse" },
    HashKV: { request: "etcdserverpb.HashKVRequest", response: "etcdserverpb.HashKVResponse" },
    Snapshot: {
      request: "etcdserverpb.SnapshotRequest",
      response: "etcdserverpb.SnapshotResponse",
      responseStream: true,
    },
    MoveLeader: { request: "etcdserverpb.MoveLeaderRequest", response: "etcdserverpb.MoveLeaderResponse" },
    Downgrade: { request: "etcdserverpb.DowngradeRequest", response: "etcdserverpb.DowngradeResponse" },
  },
  "etcdserverpb.Auth": {
    AuthEnable: { request: "etcdserverpb.AuthEnableRequest", response: "etcdserverpb.AuthEnableResponse" },
    AuthDisable: { request: "etcdserverpb.AuthDisableRequest", response: "etcdserverpb.AuthDisableResponse" },
    AuthStatus: { request: "etcdserverpb.AuthStatusRequest", response: "etcdserverpb.AuthStatusResponse" },
    Authenticate: {
      request: "etcdserverpb.AuthenticateRequest",
      response: "etcdserverpb.AuthenticateResponse",
    },
    UserAdd: { request: "etcdserverpb.AuthUserAddRequest", response: "etcdserverpb.AuthUserAddResponse" },
    UserGet: { request: "etcdserverpb.AuthUserGetRequest", response: "etcdserverpb.AuthUserGetResponse" },
    UserList: { request: "etcdserverpb.AuthUserListRequest", response: "etcdserverpb.AuthUserListResponse" },
    UserDelete: {
      request: "etcdserverpb.AuthUserDeleteRequest",
      response: "etcdserverpb.AuthUserDeleteResponse",
    },
    UserChangePassword: {
      request: "etcdserverpb.AuthUserChangePasswordRequest",
      response: "etcdserverpb.AuthUserChangePasswordResponse",
    },
    UserGrantRole: {
      request: "etcdserverpb.AuthUserGrantRoleRequest",
      response: "etcdserverpb.AuthUserGrantRoleResponse",
    },
    UserRevokeRole: {
      request: "etcdserverpb.AuthUserRevokeRoleRequest",
      response: "etcdserverpb.AuthUserRevokeRoleResponse",
    },
    RoleAdd: { request: "etcdserverpb.AuthRoleAddRequest", response: "etcdserverpb.AuthRoleAddResponse" },
    RoleGet: { request: "etcdserverpb.AuthRoleGetRequest", response: "etcdserverpb.AuthRoleGetResponse" },
    RoleList: { request: "etcdserverpb.AuthRoleListRequest", response: "etcdserverpb.AuthRoleListResponse" },
    RoleDelete: {
      request: "etcdserverpb.AuthRoleDeleteRequest",
      response: "etcdserverpb.AuthRoleDeleteResponse",
    },
    RoleGrantPermission: {
      request: "etcdserverpb.AuthRoleGrantPermissionRequest",
      response: "etcdserverpb.AuthRoleGrantPermissionResponse",
    },
    RoleRevokePermission: {
      request: "etcdserverpb.AuthRoleRevokePermissionRequest",
      response: "etcdserverpb.AuthRoleRevokePermissionResponse",
    },
  },
  "v3lockpb.Lock": {
    Lock: { request: "v3lockpb.LockRequest", response: "v3lockpb.LockResponse" },
    Unlock: { request: "v3lockpb.UnlockRequest", response: "v3lockpb.UnlockResponse" },
  },
  "v3electionpb.Election": {
    Campaign: { request: "v3electionpb.CampaignRequest", response: "v3electionpb.CampaignResponse" },
    Proclaim: { request: "v3electionpb.ProclaimRequest", response: "v3electionpb.ProclaimResponse" },
    Leader: { request: "v3electionpb.LeaderRequest", response: "v3electionpb.LeaderResponse" },
    Observe: {
      request: "v3electionpb.LeaderRequest",
      response: "v3electionpb.LeaderResponse",
      responseStream: true,
    },
    Resign: { request: "v3electionpb.ResignRequest", response: "v3electionpb.ResignResponse" },
  },
  "grpc.health.v1.Health": {
    Check: { request: "grpc.health.v1.HealthCheckRequest", response: "grpc.health.v1.HealthCheckResponse" },
    Watch: {
      request: "grpc.health.v1.HealthCheckRequest",
      response: "grpc.health.v1.HealthCheckResponse",
      responseStream: true,
    },
  },
  "grpc.reflection.v1.ServerReflection": {
    ServerReflectionInfo: {
      request: "grpc.reflection.v1.ServerReflectionRequest",
      response: "grpc.reflection.v1.ServerReflectionResponse",
      requestStream: true,
      responseStream: true,
    },
  },
  "grpc.reflection.v1alpha.ServerReflection": {
    ServerReflectionInfo: {
      request: "grpc.reflection.v1alpha.ServerReflectionRequest",
      response: "grpc.reflection.v1alpha.ServerReflectionResponse",
      requestStream: true,
      responseStream: true,
    },
  },
};
