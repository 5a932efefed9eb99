import * as paths from "../../wire/paths.js";

const { KV, Watch, Lease, Cluster, Maintenance, Auth, Lock, Election } = paths;

/** HTTP path below the version, and gRPC method. */
const BINDINGS: readonly (readonly [http: string, grpc: string])[] = [
  ["kv/range", KV.Range],
  ["kv/put", KV.Put],
  ["kv/deleterange", KV.DeleteRange],
  ["kv/txn", KV.Txn],
  ["kv/compaction", KV.Compact],

  ["watch", Watch.Watch],

  ["lease/grant", Lease.LeaseGrant],
  ["lease/revoke", Lease.LeaseRevoke],
  ["kv/lease/revoke", Lease.LeaseRevoke],
  ["lease/keepalive", Lease.LeaseKeepAlive],
  ["lease/timetolive", Lease.LeaseTimeToLive],
  ["kv/lease/timetolive", Lease.LeaseTimeToLive],
  ["lease/leases", Lease.LeaseLeases],
  ["kv/lease/leases", Lease.LeaseLeases],

  ["cluster/member/add", Cluster.MemberAdd],
  ["cluster/member/remove", Cluster.MemberRemove],
  ["cluster/member/update", Cluster.MemberUpdate],
  ["cluster/member/list", Cluster.MemberList],
  ["cluster/member/promote", Cluster.MemberPromote],

  ["maintenance/alarm", Maintenance.Alarm],
  ["maintenance/status", Maintenance.Status],
  ["maintenance/defragment", Maintenance.Defragment],
  ["maintenance/hash", Maintenance.Hash],
  ["maintenance/hashkv", Maintenance.HashKV],
  ["maintenance/snapshot", Maintenance.Snapshot],
  ["maintenance/transfer-leadership", Maintenance.MoveLeader],
  ["maintenance/downgrade", Maintenance.Downgrade],

  ["auth/enable", Auth.AuthEnable],
  ["auth/disable", Auth.AuthDisable],
  ["auth/status", Auth.AuthStatus],
  ["auth/authenticate", Auth.Authenticate],
  ["auth/user/add", Auth.UserAdd],
  ["auth/user/get", Auth.UserGet],
  ["auth/user/list", Auth.UserList],
  ["auth/user/delete", Auth.UserDelete],
  ["auth/user/changepw", Auth.UserChangePassword],
  ["auth/user/grant", Auth.UserGrantRole],
  ["auth/user/revoke", Auth.UserRevokeRole],
  ["auth/role/add", Auth.RoleAdd],
  ["auth/role/get", Auth.RoleGet],
  ["auth/role/list", Auth.RoleList],
  ["auth/role/delete", Auth.RoleDelete],
  ["auth/role/grant", Auth.RoleGrantPermission],
  ["auth/role/revoke", Auth.RoleRevokePermission],

  ["lock/lock", Lock.Lock],
  ["lock/unlock", Lock.Unlock],

  ["election/campaign", Election.Campaign],
  ["election/proclaim", Election.Proclaim],
  ["election/leader", Election.Leader],
  ["election/observe", Election.Observe],
  ["election/resign", Election.Resign],
];

/** etcd 3.4 and later serve the first two versions, etcd 3.3 the last two. */
const VERSIONS = ["v3", "v3beta", "v3alpha"];

/** Full gRPC method by HTTP path (`/v3/kv/range`), for every method of etcd's gateway. */
export const routes: ReadonlyMap<string, string> = new Map(
  VERSIONS.flatMap((version) =>
    BINDINGS.map(([http, grpc]): [string, string] => [`/${version}/${http}`, grpc]),
  ),
);

/** Whether a path is below one of the gateway's versions. */
export function isGatewayPath(path: string): boolean {
  return VERSIONS.some((version) => path.startsWith(`/${version}/`));
}
