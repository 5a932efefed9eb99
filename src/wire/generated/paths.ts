// Generated from proto/ by `npm run generate`. Edit proto/ instead.

export const KV = {
  Range: "/etcdserverpb.KV/Range",
  Put: "/etcdserverpb.KV/Put",
  DeleteRange: "/etcdserverpb.KV/DeleteRange",
  Txn: "/etcdserverpb.KV/Txn",
  Compact: "/etcdserverpb.KV/Compact",
} as const;

export const Watch = {
  Watch: "/etcdserverpb.Watch/Watch",
} as const;

export const Lease = {
  LeaseGrant: "/etcdserverpb.Lease/LeaseGrant",
  LeaseRevoke: "/etcdserverpb.Lease/LeaseRevoke",
  LeaseKeepAlive: "/etcdserverpb.Lease/LeaseKeepAlive",
  LeaseTimeToLive: "/etcdserverpb.Lease/LeaseTimeToLive",
  LeaseLeases: "/etcdserverpb.Lease/LeaseLeases",
} as const;

export const Cluster = {
  MemberAdd: "/etcdserverpb.Cluster/MemberAdd",
  MemberRemove: "/etcdserverpb.Cluster/MemberRemove",
  MemberUpdate: "/etcdserverpb.Cluster/MemberUpdate",
  MemberList: "/etcdserverpb.Cluster/MemberList",
  MemberPromote: "/etcdserverpb.Cluster/MemberPromote",
} as const;

export const Maintenance = {
  Alarm: "/etcdserverpb.Maintenance/Alarm",
  Status: "/etcdserverpb.Maintenance/Status",
  Defragment: "/etcdserverpb.Maintenance/Defragment",
  Hash: "/etcdserverpb.Maintenance/Hash",
  HashKV: "/etcdserverpb.Maintenance/HashKV",
  Snapshot: "/etcdserverpb.Maintenance/Snapshot",
  MoveLeader: "/etcdserverpb.Maintenance/MoveLeader",
  Downgrade: "/etcdserverpb.Maintenance/Downgrade",
} as const;

export const Auth = {
  AuthEnable: "/etcdserverpb.Auth/AuthEnable",
  AuthDisable: "/etcdserverpb.Auth/AuthDisable",
  AuthStatus: "/etcdserverpb.Auth/AuthStatus",
  Authenticate: "/etcdserverpb.Auth/Authenticate",
  UserAdd: "/etcdserverpb.Auth/UserAdd",
  UserGet: "/etcdserverpb.Auth/UserGet",
  UserList: "/etcdserverpb.Auth/UserList",
  UserDelete: "/etcdserverpb.Auth/UserDelete",
  UserChangePassword: "/etcdserverpb.Auth/UserChangePassword",
  UserGrantRole: "/etcdserverpb.Auth/UserGrantRole",
  UserRevokeRole: "/etcdserverpb.Auth/UserRevokeRole",
  RoleAdd: "/etcdserverpb.Auth/RoleAdd",
  RoleGet: "/etcdserverpb.Auth/RoleGet",
  RoleList: "/etcdserverpb.Auth/RoleList",
  RoleDelete: "/etcdserverpb.Auth/RoleDelete",
  RoleGrantPermission: "/etcdserverpb.Auth/RoleGrantPermission",
  RoleRevokePermission: "/etcdserverpb.Auth/RoleRevokePermission",
} as const;

export const Lock = {
  Lock: "/v3lockpb.Lock/Lock",
  Unlock: "/v3lockpb.Lock/Unlock",
} as const;

export const Election = {
  Campaign: "/v3electionpb.Election/Campaign",
  Proclaim: "/v3electionpb.Election/Proclaim",
  Leader: "/v3electionpb.Election/Leader",
  Observe: "/v3electionpb.Election/Observe",
  Resign: "/v3electionpb.Election/Resign",
} as const;
