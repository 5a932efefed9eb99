import { ADMIN_LOCK, DEFRAGMENT_LOCK } from "../../src/lease/reserved.js";
import {
  AlarmAction,
  AlarmRequest,
  AuthenticateRequest,
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGetRequest,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserGetRequest,
  AuthUserGrantRoleRequest,
  AuthUserRevokeRoleRequest,
  CampaignRequest,
  CompactionRequest,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  DowngradeAction,
  DowngradeRequest,
  EMPTY,
  HashKVRequest,
  LeaderRequest,
  LeaseGrantRequest,
  LeaseKeepAliveRequest,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LockRequest,
  MemberAddRequest,
  MemberPromoteRequest,
  MemberRemoveRequest,
  MemberUpdateRequest,
  MoveLeaderRequest,
  ProclaimRequest,
  PutRequest,
  RangeRequest,
  ResignRequest,
  TxnRequest,
  UnlockRequest,
  WatchRequest,
} from "../../src/wire/messages.js";
import { Auth, Cluster, Election, KV, Lease, Lock, Maintenance, Watch } from "../../src/wire/paths.js";

/*
 * At least one call of every method of etcd. A plain etcd has the same response to most of them for every caller that it does not
 * refuse. The tests check that no method is missing.
 */

/** Leases for all callers. `OWN` has keys below `/a` on all shards. `FOREIGN` also has one that only root may write. */
export const OWN = 11n;
export const FOREIGN = 12n;
/** No lease has this id. */
export const UNKNOWN = 999n;
/** No member has this id. */
const NO_MEMBER = 4711n;

/** Leases of one caller, granted before its calls. */
export const leasesOf = (caller: number) => ({
  /** Without a key. */
  bare: 300n + BigInt(caller),
  /** To be revoked: with keys below `/a`, with keys elsewhere, too, and without keys. */
  mine: 100n + BigInt(caller),
  theirs: 200n + BigInt(caller),
  none: 400n + BigInt(caller),
  /** To be granted. */
  fresh: 500n + BigInt(caller),
  /** Three, a hundred apart, for nested transactions. */
  nested: 1_000n + BigInt(caller),
});

export interface EveryCall {
  readonly what: string;
  readonly path: string;
  /** `member` belongs to the etcd that is called, or to a cluster of the store. */
  readonly request: (caller: number, member: bigint) => Uint8Array;
  /** Why the store responds differently from an etcd that does not refuse the caller. */
  readonly differs?: string;
  /**
   * True for a nested write. etcd 3.4 carries it out for any caller. The store refuses callers without any permission,
   * because all writes also read gen.
   */
  readonly needsAny?: boolean;
  /** Why root does not make this call. */
  readonly notAsRoot?: string;
  /** An etcd that refuses the caller gives no reason. The store responds as to `Election.Leader` of this name. */
  readonly silent?: string;
}

export const bytes = (text: string) => Buffer.from(text);
const ALL = Uint8Array.of(0);
const RESERVED = Buffer.from("\0braid/x");

const call = (
  path: string,
  what: string,
  request: Uint8Array | EveryCall["request"],
  more: Omit<EveryCall, "what" | "path" | "request"> = {},
): EveryCall => ({
  path,
  what,
  request: typeof request === "function" ? request : () => request,
  ...more,
});

const NESTED_WRITE = { needsAny: true };

const put = (key: string, more: Parameters<typeof PutRequest.encode>[0] = {}) =>
  PutRequest.encode({ key: bytes(key), value: bytes("v"), ...more });
const putOp = (key: string | Uint8Array, lease = 0n) => ({
  kind: "put" as const,
  request: { key: typeof key === "string" ? bytes(key) : key, lease },
});
const rangeOp = (key: string) => ({ kind: "range" as const, request: { key: bytes(key) } });
const nested = (...success: Parameters<typeof TxnRequest.encode>[0]["success"] & object) => ({
  kind: "txn" as const,
  request: { success },
});
const exists = (key: string) => ({
  key: bytes(key),
  target: CompareTarget.VERSION,
  result: CompareResult.GREATER,
  version: 0,
});
const leader = (name: string, lease: bigint) => ({
  name: bytes(name),
  key: bytes(`${name}/${lease.toString(16)}`),
  rev: 5,
  lease,
});

const RESERVED_KEYS = "the store keeps its own things under keys that begin with a zero byte";
const ONE_SHARD = "a transaction that writes stays on one shard";
const CONFIGURED = "the configuration says who the members are";

const kv: EveryCall[] = [
  call(KV.Range, "a key", RangeRequest.encode({ key: bytes("/a1/x") })),
  call(KV.Range, "a key, serializable", RangeRequest.encode({ key: bytes("/a1/x"), serializable: true })),
  call(KV.Range, "at a future revision", RangeRequest.encode({ key: bytes("/a1/x"), revision: 1e12 })),
  call(KV.Range, "over shards", RangeRequest.encode({ key: bytes("/a"), rangeEnd: bytes("/b") })),
  call(
    KV.Range,
    "over shards, in the future",
    RangeRequest.encode({ key: bytes("/a"), rangeEnd: bytes("/b"), revision: 1e12 }),
  ),
  call(KV.Range, "a reserved key", RangeRequest.encode({ key: RESERVED })),
  call(KV.Range, "reserved keys", RangeRequest.encode({ key: RESERVED, rangeEnd: bytes("\x01") })),
  call(KV.Range, "everything", RangeRequest.encode({ key: ALL, rangeEnd: ALL })),
  call(KV.Range, "no key", RangeRequest.encode({ key: EMPTY })),
  call(KV.Put, "a key", put("/a1/new")),
  call(KV.Put, "with an unknown lease", put("/a1/new", { lease: UNKNOWN })),
  ...[0, 1, 2, 3, 4, 5].map((i) =>
    call(KV.Put, `with a lease of others, ${i}`, put(`/a${i}/new`, { lease: FOREIGN })),
  ),
  ...[0, 1, 2, 3, 4, 5].map((i) =>
    call(KV.Put, `with a lease to be placed, ${i}`, (caller) =>
      put(`/a${i}/p`, { lease: leasesOf(caller).bare }),
    ),
  ),
  ...[0, 1, 2].map((i) =>
    call(KV.Put, `and look, with a lease to be placed, ${i}`, (caller) =>
      put(`/a${i}/x`, { lease: leasesOf(caller).fresh + 50n, prevKv: true }),
    ),
  ),
  call(KV.Put, "elsewhere", put("/z/x")),
  call(KV.Put, "a reserved key", put("\0braid/x"), { differs: RESERVED_KEYS }),
  call(KV.Put, "a reserved key with an unknown lease", put("\0braid/x", { lease: UNKNOWN }), {
    differs: RESERVED_KEYS,
  }),
  call(KV.Put, "no key", put("")),
  call(KV.Put, "a value and none", put("/a1/new", { ignoreValue: true })),
  call(KV.DeleteRange, "a key", DeleteRangeRequest.encode({ key: bytes("/a1/new"), prevKv: true })),
  call(
    KV.DeleteRange,
    "over shards",
    DeleteRangeRequest.encode({ key: bytes("/a"), rangeEnd: bytes("/a0") }),
  ),
  call(KV.DeleteRange, "too much", DeleteRangeRequest.encode({ key: bytes("/y"), rangeEnd: bytes("/z/") })),
  call(KV.DeleteRange, "a reserved key", DeleteRangeRequest.encode({ key: RESERVED }), {
    differs: RESERVED_KEYS,
  }),
  call(
    KV.DeleteRange,
    "reserved keys",
    DeleteRangeRequest.encode({ key: RESERVED, rangeEnd: bytes("\x01") }),
  ),
  call(KV.Txn, "nothing", TxnRequest.encode({})),
  call(KV.Txn, "a compare", TxnRequest.encode({ compare: [exists("/z/x")] })),
  call(KV.Txn, "a write", TxnRequest.encode({ compare: [exists("/a1/x")], success: [putOp("/a1/new")] })),
  call(KV.Txn, "a nested write", TxnRequest.encode({ success: [nested(putOp("/a1/new"))] }), NESTED_WRITE),
  call(
    KV.Txn,
    "a nested write elsewhere",
    TxnRequest.encode({ success: [nested(putOp("/z/new"))] }),
    NESTED_WRITE,
  ),
  call(KV.Txn, "nested, not taken", TxnRequest.encode({ failure: [nested(putOp("/z/new"))] }), NESTED_WRITE),
  call(KV.Txn, "nested reads", TxnRequest.encode({ success: [nested(rangeOp("/z/x")), rangeOp("/a1/x")] })),
  call(
    KV.Txn,
    "nested reads, not taken",
    TxnRequest.encode({ success: [rangeOp("/a1/x")], failure: [nested(rangeOp("/z/x"))] }),
  ),
  call(KV.Txn, "with an unknown lease", TxnRequest.encode({ success: [putOp("/a1/new", UNKNOWN)] })),
  call(
    KV.Txn,
    "with an unknown lease, not taken",
    TxnRequest.encode({ failure: [putOp("/a1/new", UNKNOWN)] }),
  ),
  ...[0, 1, 2, 3, 4, 5].map((i) =>
    call(
      KV.Txn,
      `with a lease of others, ${i}`,
      TxnRequest.encode({ failure: [putOp(`/a${i}/new`, FOREIGN)] }),
    ),
  ),
  ...[0, 1, 2].map((i) =>
    call(KV.Txn, `with a lease to be placed, ${i}`, (caller) =>
      TxnRequest.encode({
        compare: [exists(`/a${i}/x`)],
        success: [putOp(`/a${i}/t`, leasesOf(caller).fresh + 50n)],
      }),
    ),
  ),
  ...[0, 1, 2].map((i) =>
    call(
      KV.Txn,
      `nested, with a lease to be placed, ${i}`,
      (caller) =>
        TxnRequest.encode({
          success: [nested(putOp(`/a${i}/t`, leasesOf(caller).nested + 100n * BigInt(i)))],
        }),
      NESTED_WRITE,
    ),
  ),
  call(KV.Txn, "a reserved key", TxnRequest.encode({ success: [putOp(RESERVED)] }), {
    differs: RESERVED_KEYS,
  }),
  call(KV.Txn, "a nested reserved key", TxnRequest.encode({ success: [nested(putOp(RESERVED))] }), {
    differs: RESERVED_KEYS,
  }),
  call(
    KV.Txn,
    "writes over shards",
    TxnRequest.encode({ success: [0, 1, 2, 3, 4, 5].map((i) => putOp(`/a${i}/new`)) }),
    { differs: ONE_SHARD },
  ),
  call(
    KV.Txn,
    "writes over shards, with an unknown lease",
    TxnRequest.encode({ success: [0, 1, 2, 3, 4, 5].map((i) => putOp(`/a${i}/new`, UNKNOWN)) }),
    { differs: ONE_SHARD },
  ),
  call(
    KV.Txn,
    "reads over shards",
    TxnRequest.encode({ success: [0, 1, 2, 3, 4, 5].map((i) => rangeOp(`/a${i}/x`)) }),
  ),
  call(KV.Txn, "a key twice", TxnRequest.encode({ success: [putOp("/a1/new"), putOp("/a1/new")] })),
  call(KV.Compact, "in the future", CompactionRequest.encode({ revision: 1e12 })),
];

const watch: EveryCall[] = [
  call(Watch.Watch, "a key", WatchRequest.encode({ kind: "create", request: { key: bytes("/a1/x") } })),
  call(
    Watch.Watch,
    "over shards",
    WatchRequest.encode({ kind: "create", request: { key: bytes("/a"), rangeEnd: bytes("/b") } }),
  ),
  call(
    Watch.Watch,
    "too much",
    WatchRequest.encode({ kind: "create", request: { key: bytes("/a"), rangeEnd: bytes("/c") } }),
  ),
  call(
    Watch.Watch,
    "everything",
    WatchRequest.encode({ kind: "create", request: { key: ALL, rangeEnd: ALL } }),
  ),
  call(Watch.Watch, "a reserved key", WatchRequest.encode({ kind: "create", request: { key: RESERVED } })),
  call(
    Watch.Watch,
    "an empty range",
    WatchRequest.encode({ kind: "create", request: { key: bytes("/b"), rangeEnd: bytes("/a") } }),
  ),
];

const lease: EveryCall[] = [
  call(Lease.LeaseGrant, "an id", (caller) =>
    LeaseGrantRequest.encode({ id: leasesOf(caller).fresh, ttl: 600 }),
  ),
  call(Lease.LeaseGrant, "an id that is taken", LeaseGrantRequest.encode({ id: OWN, ttl: 600 })),
  call(
    Lease.LeaseGrant,
    "an id of the proxies",
    LeaseGrantRequest.encode({ id: DEFRAGMENT_LOCK, ttl: 600 }),
    { differs: "the proxies lock with it" },
  ),
  call(Lease.LeaseRevoke, "of the proxies", LeaseRevokeRequest.encode({ id: ADMIN_LOCK })),
  call(Lease.LeaseKeepAlive, "of the proxies", LeaseKeepAliveRequest.encode({ id: ADMIN_LOCK })),
  call(
    Lease.LeaseTimeToLive,
    "of the proxies, with keys",
    LeaseTimeToLiveRequest.encode({ id: ADMIN_LOCK, keys: true }),
  ),
  call(Lease.LeaseGrant, "no id", LeaseGrantRequest.encode({ ttl: 600 })),
  call(Lease.LeaseGrant, "too long", LeaseGrantRequest.encode({ id: 600n, ttl: 1e10 })),
  call(Lease.LeaseRevoke, "of own keys", (caller) =>
    LeaseRevokeRequest.encode({ id: leasesOf(caller).mine }),
  ),
  call(Lease.LeaseRevoke, "of keys of others", (caller) =>
    LeaseRevokeRequest.encode({ id: leasesOf(caller).theirs }),
  ),
  call(Lease.LeaseRevoke, "of no keys", (caller) => LeaseRevokeRequest.encode({ id: leasesOf(caller).none })),
  call(Lease.LeaseRevoke, "unknown", LeaseRevokeRequest.encode({ id: UNKNOWN })),
  call(Lease.LeaseKeepAlive, "of own keys", LeaseKeepAliveRequest.encode({ id: OWN })),
  call(Lease.LeaseKeepAlive, "of keys of others", LeaseKeepAliveRequest.encode({ id: FOREIGN })),
  call(Lease.LeaseKeepAlive, "of no keys", LeaseKeepAliveRequest.encode({ id: 13n })),
  call(Lease.LeaseKeepAlive, "unknown", LeaseKeepAliveRequest.encode({ id: UNKNOWN })),
  call(Lease.LeaseTimeToLive, "of own keys", LeaseTimeToLiveRequest.encode({ id: OWN })),
  call(
    Lease.LeaseTimeToLive,
    "of own keys, with them",
    LeaseTimeToLiveRequest.encode({ id: OWN, keys: true }),
  ),
  call(Lease.LeaseTimeToLive, "of keys of others", LeaseTimeToLiveRequest.encode({ id: FOREIGN })),
  call(
    Lease.LeaseTimeToLive,
    "of keys of others, with them",
    LeaseTimeToLiveRequest.encode({ id: FOREIGN, keys: true }),
  ),
  call(Lease.LeaseTimeToLive, "unknown", LeaseTimeToLiveRequest.encode({ id: UNKNOWN })),
  call(
    Lease.LeaseTimeToLive,
    "unknown, with keys",
    LeaseTimeToLiveRequest.encode({ id: UNKNOWN, keys: true }),
  ),
  call(Lease.LeaseLeases, "all", EMPTY),
];

const cluster: EveryCall[] = [
  call(Cluster.MemberList, "all", EMPTY),
  call(Cluster.MemberAdd, "a member", MemberAddRequest.encode({ peerUrls: ["http://127.0.0.1:1"] }), {
    differs: CONFIGURED,
    notAsRoot: "a plain etcd of one member would have no quorum any more",
  }),
  call(Cluster.MemberAdd, "no URL", MemberAddRequest.encode({})),
  call(Cluster.MemberRemove, "unknown", MemberRemoveRequest.encode({ id: NO_MEMBER })),
  call(
    Cluster.MemberUpdate,
    "unknown",
    MemberUpdateRequest.encode({ id: NO_MEMBER, peerUrls: ["http://127.0.0.1:1"] }),
  ),
  call(Cluster.MemberPromote, "unknown", MemberPromoteRequest.encode({ id: NO_MEMBER })),
];

const maintenance: EveryCall[] = [
  call(Maintenance.Alarm, "list", AlarmRequest.encode({})),
  call(
    Maintenance.Alarm,
    "disarm",
    AlarmRequest.encode({ action: AlarmAction.DEACTIVATE, memberId: NO_MEMBER, alarm: 1 }),
  ),
  call(Maintenance.Status, "of the member", EMPTY),
  call(Maintenance.Defragment, "all", EMPTY),
  call(Maintenance.Hash, "all", EMPTY),
  call(Maintenance.HashKV, "newest", HashKVRequest.encode({})),
  call(Maintenance.HashKV, "in the future", HashKVRequest.encode({ revision: 1e12 })),
  call(Maintenance.Snapshot, "all", EMPTY, {
    differs: "the snapshot of one etcd cannot hold a store of several",
  }),
  call(Maintenance.MoveLeader, "to a member", (_caller, member) =>
    MoveLeaderRequest.encode({ targetId: member }),
  ),
  call(Maintenance.MoveLeader, "to no member", MoveLeaderRequest.encode({ targetId: NO_MEMBER })),
  call(
    Maintenance.Downgrade,
    "validate",
    DowngradeRequest.encode({ action: DowngradeAction.VALIDATE, version: "1.0.0" }),
  ),
  call(
    Maintenance.Downgrade,
    "enable",
    DowngradeRequest.encode({ action: DowngradeAction.ENABLE, version: "1.0.0" }),
  ),
  call(Maintenance.Downgrade, "cancel", DowngradeRequest.encode({ action: DowngradeAction.CANCEL })),
];

const PERMISSION = { permType: 2, key: bytes("/q"), rangeEnd: bytes("/r") };

const auth: EveryCall[] = [
  call(Auth.AuthEnable, "again", EMPTY),
  call(Auth.AuthDisable, "at all", EMPTY, { notAsRoot: "authentication would be off" }),
  call(Auth.AuthStatus, "at all", EMPTY, { differs: "etcd 3.4 has no such method, the store has" }),
  call(Auth.Authenticate, "a wrong password", AuthenticateRequest.encode({ name: "writer", password: "x" })),
  call(Auth.Authenticate, "an unknown user", AuthenticateRequest.encode({ name: "who", password: "x" })),
  call(Auth.UserAdd, "that is there", AuthUserAddRequest.encode({ name: "writer", password: "x" })),
  call(Auth.UserAdd, "without a name", AuthUserAddRequest.encode({ password: "x" })),
  call(Auth.UserAdd, "a long name", AuthUserAddRequest.encode({ name: "x".repeat(40_000), password: "x" }), {
    differs: "an etcd would end that takes it",
    notAsRoot: "a plain etcd would end",
  }),
  call(Auth.UserGet, "writer", AuthUserGetRequest.encode({ name: "writer" })),
  call(Auth.UserGet, "unknown", AuthUserGetRequest.encode({ name: "who" })),
  call(Auth.UserList, "all", EMPTY),
  call(Auth.UserDelete, "unknown", AuthUserDeleteRequest.encode({ name: "who" })),
  call(Auth.UserDelete, "root", AuthUserDeleteRequest.encode({ name: "root" })),
  call(Auth.UserDelete, "the proxies' own", AuthUserDeleteRequest.encode({ name: "braid" }), {
    differs: "the proxies would be locked out",
    notAsRoot: "the plain etcd would not be as the shards any more",
  }),
  call(
    Auth.UserChangePassword,
    "of an unknown user",
    AuthUserChangePasswordRequest.encode({ name: "who", password: "x" }),
  ),
  call(Auth.UserGrantRole, "unknown", AuthUserGrantRoleRequest.encode({ user: "writer", role: "what" })),
  call(
    Auth.UserRevokeRole,
    "not granted",
    AuthUserRevokeRoleRequest.encode({ name: "writer", role: "what" }),
  ),
  call(Auth.RoleAdd, "that is there", AuthRoleAddRequest.encode({ name: "writer" })),
  call(Auth.RoleGet, "writer", AuthRoleGetRequest.encode({ role: "writer" })),
  call(Auth.RoleGet, "unknown", AuthRoleGetRequest.encode({ role: "what" })),
  call(Auth.RoleList, "all", EMPTY),
  call(Auth.RoleDelete, "unknown", AuthRoleDeleteRequest.encode({ role: "what" })),
  call(
    Auth.RoleGrantPermission,
    "to an unknown role",
    AuthRoleGrantPermissionRequest.encode({ name: "what", perm: PERMISSION }),
  ),
  call(Auth.RoleGrantPermission, "nothing", AuthRoleGrantPermissionRequest.encode({ name: "writer" }), {
    differs: "etcd 3.4 ends that takes it",
    notAsRoot: "a plain etcd would end",
  }),
  call(
    Auth.RoleRevokePermission,
    "not granted",
    AuthRoleRevokePermissionRequest.encode({ role: "writer", key: bytes("/nope") }),
  ),
];

const recipes: EveryCall[] = [
  call(Lock.Lock, "with a lease", (caller) =>
    LockRequest.encode({ name: bytes(`/a6/lock${caller}`), lease: OWN }),
  ),
  call(Lock.Lock, "with an unknown lease", LockRequest.encode({ name: bytes("/a6/lock"), lease: UNKNOWN })),
  call(Lock.Lock, "with a lease of others", (caller) =>
    LockRequest.encode({ name: bytes(`/a6/lock-${caller}`), lease: FOREIGN }),
  ),
  call(Lock.Lock, "with a lease to be placed", (caller) =>
    LockRequest.encode({ name: bytes(`/a6/lock+${caller}`), lease: leasesOf(caller).fresh + 70n }),
  ),
  call(Lock.Lock, "without a lease", (caller) => LockRequest.encode({ name: bytes(`/a7/lock${caller}`) })),
  call(Lock.Unlock, "what is not there", UnlockRequest.encode({ key: bytes("/a6/none") })),
  call(Election.Campaign, "with a lease", (caller) =>
    CampaignRequest.encode({ name: bytes(`/a6/vote${caller}`), lease: OWN }),
  ),
  call(
    Election.Campaign,
    "with an unknown lease",
    CampaignRequest.encode({ name: bytes("/a6/vote"), lease: UNKNOWN }),
  ),
  call(Election.Campaign, "without a lease", (caller) =>
    CampaignRequest.encode({ name: bytes(`/a7/vote${caller}`) }),
  ),
  call(Election.Proclaim, "not leading", ProclaimRequest.encode({ leader: leader("/a6/none", OWN) })),
  call(Election.Leader, "of the election", LeaderRequest.encode({ name: bytes("/a5/led") })),
  call(Election.Leader, "of none", LeaderRequest.encode({ name: bytes("/a5/none") })),
  call(Election.Observe, "the election", LeaderRequest.encode({ name: bytes("/a5/led") }), {
    silent: "of the election",
  }),
  call(Election.Resign, "not leading", ResignRequest.encode({ leader: leader("/a6/none", OWN) })),
];

export const EVERY_CALL: readonly EveryCall[] = [
  ...kv,
  ...watch,
  ...lease,
  ...cluster,
  ...maintenance,
  ...auth,
  ...recipes,
];
