import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code } from "../../src/status/error.js";
import {
  AlarmRequest,
  AuthRoleAddRequest,
  AuthRoleGetRequest,
  AuthRoleGrantPermissionRequest,
  AuthUserAddRequest,
  AuthUserDeleteRequest,
  AuthUserGetRequest,
  AuthUserGrantRoleRequest,
  AuthUserRevokeRoleRequest,
  CompactionRequest,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  EMPTY,
  LeaseGrantRequest,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  PutRequest,
  RangeRequest,
  TxnRequest,
} from "../../src/wire/messages.js";
import { Auth, Cluster, KV, Lease, Maintenance } from "../../src/wire/paths.js";
import type { EtcdProcess } from "../support/etcd.js";
import type { TestStore } from "../support/store.js";
import { AuthClient, type Outcome } from "./client.js";
import { ROOT, startGuardedEtcds, startGuardedStore } from "./support.js";

const bytes = (text: string) => Buffer.from(text);
const ALL = Uint8Array.of(0);

let store: TestStore;
let plain: EtcdProcess;
/** A plain etcd, and the store through two proxies. All users log in at the first and call the second. */
let sides: { name: string; login: AuthClient; ask: AuthClient; tokens: Map<string, string> }[];

const USERS = ["writer", "reader", "pusher", "single", "nothing"];
/** Callers: users, a client without a token, and one with an invalid token. */
const CALLERS = ["root", ...USERS, "nobody", "forger"];

before(async () => {
  const [started, etcds] = await Promise.all([startGuardedStore({ proxies: 2 }), startGuardedEtcds(1)]);
  store = started;
  plain = etcds[0]!;
  const [one, two] = store.proxies.map(({ endpoint }) => new AuthClient(endpoint));
  const direct = new AuthClient(plain.endpoint);
  sides = [
    { name: "etcd", login: direct, ask: direct, tokens: new Map() },
    { name: "braid", login: one!, ask: two!, tokens: new Map() },
  ];
  for (const { login, tokens } of sides) {
    const [user, password] = ROOT.split(":") as [string, string];
    const root = await login.login(user, password);
    tokens.set("root", root);
    const act = (path: string, request: Uint8Array) => login.call(path, request, root);
    for (const name of USERS) {
      await act(Auth.UserAdd, AuthUserAddRequest.encode({ name, password: `${name}-secret` }));
      await act(Auth.RoleAdd, AuthRoleAddRequest.encode({ name }));
      await act(Auth.UserGrantRole, AuthUserGrantRoleRequest.encode({ user: name, role: name }));
    }
    const grants: [role: string, permType: number, key: string, rangeEnd: string][] = [
      ["writer", 2, "/a", "/b"],
      ["reader", 0, "/a", "/b"],
      ["pusher", 1, "/a", "/b"],
      ["single", 2, "/a1/x", ""],
    ];
    for (const [name, permType, key, rangeEnd] of grants) {
      const perm = { permType, key: bytes(key), rangeEnd: bytes(rangeEnd) };
      await act(Auth.RoleGrantPermission, AuthRoleGrantPermissionRequest.encode({ name, perm }));
    }
    // Lease 1 has keys that the writer may write. Lease 2 also has one that it may not.
    for (const id of [1n, 2n, 3n]) await act(Lease.LeaseGrant, LeaseGrantRequest.encode({ id, ttl: 600 }));
    for (let i = 0; i < 6; i++)
      await act(KV.Put, PutRequest.encode({ key: bytes(`/a${i}/x`), lease: i < 3 ? 1n : 2n }));
    await act(KV.Put, PutRequest.encode({ key: bytes("/z/x"), lease: 2n }));
    for (const name of USERS) tokens.set(name, await login.login(name, `${name}-secret`));
    // After a dot and a number, etcd would wait for that many changes first.
    tokens.set("forger", "braid1-forged");
  }
});
after(async () => {
  for (const { login, ask } of sides) for (const client of [login, ask]) client.close();
  await Promise.all([store.remove(), plain.remove()]);
});

const range = (key: string, rangeEnd?: Uint8Array, more = {}) =>
  RangeRequest.encode({ key: bytes(key), ...(rangeEnd && { rangeEnd }), ...more });
const compareOn = (key: string) => ({
  key: bytes(key),
  target: CompareTarget.VERSION,
  result: CompareResult.GREATER,
  version: 0,
});
const reads = (...keys: string[]) =>
  keys.map((key) => ({ kind: "range" as const, request: { key: bytes(key) } }));

/** No call changes what another one needs. */
const REQUESTS: [what: string, path: string, request: Uint8Array][] = [
  ["a key", KV.Range, range("/a1/x")],
  ["a key, serializable", KV.Range, range("/a1/x", undefined, { serializable: true })],
  ["a key elsewhere", KV.Range, range("/z/x")],
  ["a directory on several shards", KV.Range, range("/a", bytes("/b"))],
  ["the same, sorted", KV.Range, range("/a", bytes("/b"), { sortOrder: 2, sortTarget: 3, limit: 2 })],
  ["more than is granted", KV.Range, range("/a", bytes("/c"))],
  ["everything", KV.Range, RangeRequest.encode({ key: ALL, rangeEnd: ALL })],
  ["a count of everything", KV.Range, RangeRequest.encode({ key: ALL, rangeEnd: ALL, countOnly: true })],
  ["a range of no key", KV.Range, range("/a1", bytes("/a1\0"))],
  ["put", KV.Put, PutRequest.encode({ key: bytes("/a4/new") })],
  ["put and look", KV.Put, PutRequest.encode({ key: bytes("/a4/new"), prevKv: true })],
  ["put elsewhere", KV.Put, PutRequest.encode({ key: bytes("/z/new") })],
  ["put the one key", KV.Put, PutRequest.encode({ key: bytes("/a1/x"), lease: 1n })],
  ["put with a lease of own keys", KV.Put, PutRequest.encode({ key: bytes("/a4/new"), lease: 1n })],
  ["put with a lease of others' keys", KV.Put, PutRequest.encode({ key: bytes("/a4/new"), lease: 2n })],
  ["delete", KV.DeleteRange, DeleteRangeRequest.encode({ key: bytes("/a4/new") })],
  ["delete and look", KV.DeleteRange, DeleteRangeRequest.encode({ key: bytes("/a4/new"), prevKv: true })],
  [
    "delete on several shards",
    KV.DeleteRange,
    DeleteRangeRequest.encode({ key: bytes("/a4/n"), rangeEnd: bytes("/a5") }),
  ],
  [
    "delete too much",
    KV.DeleteRange,
    DeleteRangeRequest.encode({ key: bytes("/y"), rangeEnd: bytes("/z/") }),
  ],
  ["transaction", KV.Txn, TxnRequest.encode({ compare: [compareOn("/a1/x")], success: reads("/a1/y") })],
  [
    "transaction that reads several shards",
    KV.Txn,
    TxnRequest.encode({ compare: [compareOn("/a1/x")], success: reads("/a2/x", "/a3/x", "/a4/x") }),
  ],
  [
    "its other branch is forbidden",
    KV.Txn,
    TxnRequest.encode({
      compare: [compareOn("/a1/x")],
      success: reads("/a2/x", "/a3/x"),
      failure: reads("/z/x"),
    }),
  ],
  [
    "its compare is forbidden",
    KV.Txn,
    TxnRequest.encode({ compare: [compareOn("/z/x")], success: reads("/a2/x", "/a3/x") }),
  ],
  ["an empty transaction", KV.Txn, TxnRequest.encode({})],
  [
    "transaction that writes",
    KV.Txn,
    TxnRequest.encode({ success: [{ kind: "put", request: { key: bytes("/a4/new") } }] }),
  ],
  ["compact in the future", KV.Compact, CompactionRequest.encode({ revision: 1e9 })],
  ["grant a lease", Lease.LeaseGrant, LeaseGrantRequest.encode({ ttl: 600 })],
  ["time to live", Lease.LeaseTimeToLive, LeaseTimeToLiveRequest.encode({ id: 1n })],
  [
    "time to live with others' keys",
    Lease.LeaseTimeToLive,
    LeaseTimeToLiveRequest.encode({ id: 2n, keys: true }),
  ],
  ["list leases", Lease.LeaseLeases, EMPTY],
  ["revoke a lease of others' keys", Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: 4n })],
  ["own user", Auth.UserGet, AuthUserGetRequest.encode({ name: "writer" })],
  ["unknown user", Auth.UserGet, AuthUserGetRequest.encode({ name: "who" })],
  ["users", Auth.UserList, EMPTY],
  ["own role", Auth.RoleGet, AuthRoleGetRequest.encode({ role: "reader" })],
  ["unknown role", Auth.RoleGet, AuthRoleGetRequest.encode({ role: "what" })],
  ["roles", Auth.RoleList, EMPTY],
  ["add a user that is there", Auth.UserAdd, AuthUserAddRequest.encode({ name: "writer", password: "x" })],
  ["add a user without a name", Auth.UserAdd, AuthUserAddRequest.encode({ password: "x" })],
  ["add a role that is there", Auth.RoleAdd, AuthRoleAddRequest.encode({ name: "writer" })],
  ["delete a user who is not there", Auth.UserDelete, AuthUserDeleteRequest.encode({ name: "who" })],
  ["delete root", Auth.UserDelete, AuthUserDeleteRequest.encode({ name: "root" })],
  [
    "grant an unknown role",
    Auth.UserGrantRole,
    AuthUserGrantRoleRequest.encode({ user: "writer", role: "what" }),
  ],
  [
    "revoke a role that was not granted",
    Auth.UserRevokeRole,
    AuthUserRevokeRoleRequest.encode({ name: "writer", role: "what" }),
  ],
  ["alarms", Maintenance.Alarm, AlarmRequest.encode({})],
  ["status", Maintenance.Status, EMPTY],
  ["members", Cluster.MemberList, EMPTY],
  ["defragment", Maintenance.Defragment, EMPTY],
];

/** Texts of etcd's internal errors of authorization → the code that clients get. */
const INNER: Readonly<Record<string, number>> = {
  "permission denied": Code.PERMISSION_DENIED,
  "user name is empty": Code.INVALID_ARGUMENT,
  "invalid auth token": Code.UNAUTHENTICATED,
};

/** Before 3.6, etcd refuses a defragmentation with an internal text. On 3.5, the status is refused first, with the usual one. */
function outer({ code, message }: Outcome): Outcome {
  const [, inner] = /^auth: (.*)/.exec(message) ?? [];
  if (code !== Code.UNKNOWN || inner === undefined) return { code, message };
  return { code: INNER[inner] ?? code, message: `etcdserver: ${inner}` };
}

for (const caller of CALLERS) {
  test(`${caller}: the same responses as from an etcd`, async () => {
    const rows: Record<string, Outcome>[] = [];
    for (const { ask, tokens } of sides) {
      // A lease to be revoked, with one key that only root may write.
      await ask
        .call(Lease.LeaseGrant, LeaseGrantRequest.encode({ id: 4n, ttl: 600 }), tokens.get("root"))
        .catch(() => {});
      await ask.call(KV.Put, PutRequest.encode({ key: bytes("/z/gone"), lease: 4n }), tokens.get("root"));
      await ask.call(KV.Put, PutRequest.encode({ key: bytes("/a2/gone"), lease: 4n }), tokens.get("root"));
      const row: Record<string, Outcome> = {};
      for (const [what, path, request] of REQUESTS)
        row[what] = await ask.outcome(path, request, tokens.get(caller));
      rows.push(row);
    }
    for (const [what] of REQUESTS) assert.deepEqual(outer(rows[1]![what]!), outer(rows[0]![what]!), what);
  });

  test(`${caller}: watches are accepted and refused as by an etcd`, async () => {
    const ranges: [key: string, rangeEnd: string][] = [
      ["/a1/x", ""],
      ["/a", "/b"],
      ["/a", "/c"],
      ["/z/x", ""],
      ["\0", "/z"],
    ];
    const frames = await Promise.all(
      sides.map(({ ask, tokens }) =>
        Promise.all(
          ranges.map(async ([key, rangeEnd]) => {
            const request = { key: bytes(key), rangeEnd: bytes(rangeEnd) };
            const { created, canceled, cancelReason, watchId } = await ask.watch(request, tokens.get(caller));
            return { key, created, canceled, cancelReason, watchId };
          }),
        ),
      ),
    );
    assert.deepEqual(frames[1], frames[0]);
  });
}

test("a compaction with a forged token is refused and leaves no trace", async () => {
  for (const { ask, tokens } of sides) {
    const request = CompactionRequest.encode({ revision: 5 });
    const forged = await ask.outcome(KV.Compact, request, tokens.get("forger"));
    assert.deepEqual(forged, { code: Code.UNAUTHENTICATED, message: "etcdserver: invalid auth token" });
    const old = range("/a1/x", undefined, { revision: 4 });
    assert.equal((await ask.outcome(KV.Range, old, tokens.get("root"))).code, 0);
  }
});

test("concurrent reads of several callers are each allowed or refused separately", async () => {
  const keys = ["/a1/x", "/z/x", "/a2/x", "/a1/x", "/a3/x"];
  const outcomes = await Promise.all(
    sides.map(({ ask, tokens }) =>
      Promise.all(
        CALLERS.flatMap((caller) => keys.map((key) => ask.outcome(KV.Range, range(key), tokens.get(caller)))),
      ),
    ),
  );
  assert.deepEqual(outcomes[1], outcomes[0]);
  assert.ok(outcomes[0].some(({ code }) => code === Code.OK));
  assert.ok(outcomes[0].some(({ code }) => code === Code.PERMISSION_DENIED));
});
