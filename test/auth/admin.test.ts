import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ADMIN_LOCK } from "../../src/lease/reserved.js";
import { readUsers } from "../../src/services/auth/users.js";
import type { Shard } from "../../src/shard/shard.js";
import { Code } from "../../src/status/error.js";
import {
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthStatusResponse,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserGrantRoleRequest,
  AuthUserListResponse,
  AuthUserRevokeRoleRequest,
  EMPTY,
  LeaseGrantRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  PutRequest,
  RangeRequest,
  WatchRequest,
  WatchResponse,
} from "../../src/wire/messages.js";
import { Auth, KV, Lease, Watch } from "../../src/wire/paths.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { startStore, storeConfig, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { AuthClient, OK } from "./client.js";
import { CHEAP, OWN } from "./support.js";

const bytes = (text: string) => Buffer.from(text);
const KEYS = ["/a0/x", "/a1/x", "/a2/x", "/a3/x", "/a4/x", "/a5/x"];
const EMPTY_USER = { code: Code.INVALID_ARGUMENT, message: "etcdserver: user name is empty" };

/* Turns authentication on and off again. The tests build on each other. */

let store: TestStore;
let one: AuthClient;
let two: AuthClient;
let direct: AuthClient[];
let root: string | undefined;

before(async () => {
  store = await startStore({
    etcd: CHEAP,
    proxies: 2,
    config: { auth: OWN, limits: { connectTimeoutMs: 500 } },
  });
  [one, two] = store.proxies.map(({ endpoint }) => new AuthClient(endpoint)) as [AuthClient, AuthClient];
  direct = store.shards.map(({ endpoint }) => new AuthClient(endpoint));
});
after(async () => {
  for (const client of [one, two, ...direct]) client.close();
  await store.remove();
});

const puts = (client: AuthClient, token?: string) =>
  Promise.all(KEYS.map((key) => client.outcome(KV.Put, PutRequest.encode({ key: bytes(key) }), token)));
const ALL_OK = KEYS.map(() => OK);

/** Users, roles and grants of each shard, read from the shard itself. */
async function onShards(): Promise<unknown[]> {
  return Promise.all(
    direct.map(async (client) => {
      const token = root === undefined ? undefined : await client.login("root", "root-secret");
      const call = (path: string, request: Uint8Array) => client.call(path, request, token);
      const { users, roles, enabled } = await readUsers({ call } as unknown as Shard);
      const granted = [...roles].map(([role, perms]) => [
        role,
        [...perms].map(([range, { permType }]) => [range, permType]).sort(),
      ]);
      return { enabled, users: [...users], roles: granted };
    }),
  );
}

async function assertSame(): Promise<void> {
  const [first, ...others] = await onShards();
  for (const other of others) assert.deepEqual(other, first);
}

const addUser = (name: string, password: string, client = one) =>
  client.outcome(Auth.UserAdd, AuthUserAddRequest.encode({ name, password }), root);
const grantRole = (user: string, role: string) =>
  one.outcome(Auth.UserGrantRole, AuthUserGrantRoleRequest.encode({ user, role }), root);
const isEnabled = async () => AuthStatusResponse.decode(await two.call(Auth.AuthStatus, EMPTY, root)).enabled;

test("while authentication is off, clients need no token and get none", async () => {
  assert.deepEqual(await puts(one), ALL_OK);
  // etcd 3.5 ignores tokens then, 3.4 does not.
  const read = (client: AuthClient) =>
    client.outcome(KV.Range, RangeRequest.encode({ key: bytes("/a0/x") }), "whatever");
  assert.deepEqual(await read(two), await read(direct[0]!));
  // These would crash an etcd.
  const tooLong = { code: Code.INVALID_ARGUMENT, message: "etcd-braid: a name has 32768 bytes at most" };
  const name = "n".repeat(32_769);
  assert.deepEqual(await one.outcome(Auth.UserAdd, AuthUserAddRequest.encode({ name })), tooLong);
  assert.deepEqual(await one.outcome(Auth.RoleAdd, AuthRoleAddRequest.encode({ name })), tooLong);
  await assert.rejects(one.login("root", "x"), { message: "etcdserver: authentication is not enabled" });
  assert.equal(await isEnabled(), false);
});

test("authentication is not turned on before every shard has the user root and the proxies' user", async () => {
  const enable = () => one.outcome(Auth.AuthEnable, EMPTY);
  const refused = (message: string) => ({ code: Code.FAILED_PRECONDITION, message });
  assert.deepEqual(await enable(), refused("etcdserver: root user does not exist"));
  assert.deepEqual(await addUser("root", "root-secret"), OK);
  assert.deepEqual(await enable(), refused("etcdserver: root user does not have root role"));
  assert.deepEqual(await grantRole("root", "root"), OK);
  assert.match(
    (await enable()).message,
    /^etcd-braid: the proxies would be locked out: on shard "shard0" their user "braid" does not exist/,
  );
  assert.match((await addUser(OWN.user, "another")).message, /they are configured with another password/);
  assert.deepEqual(await addUser(OWN.user, OWN.password), OK);
  assert.match((await enable()).message, /their user "braid" does not have the role root/);
  assert.deepEqual(await grantRole(OWN.user, "root"), OK);
  await assertSame();
  assert.equal(await isEnabled(), false);
});

/** Changes that would take the proxies' user, its role or its password away. */
const HARMFUL = [
  [Auth.UserDelete, AuthUserDeleteRequest.encode({ name: OWN.user })],
  [Auth.UserRevokeRole, AuthUserRevokeRoleRequest.encode({ name: OWN.user, role: "root" })],
  [Auth.UserChangePassword, AuthUserChangePasswordRequest.encode({ name: OWN.user, password: "another" })],
  [
    Auth.UserChangePassword,
    AuthUserChangePasswordRequest.encode({ name: OWN.user, hashedPassword: "aGFzaA==" }),
  ],
] as const;
const DELETE_ROOT = AuthRoleDeleteRequest.encode({ role: "root" });

test("while authentication is off, changes that would lock the proxies out are refused", async () => {
  for (const [path, request] of HARMFUL) {
    const { code, message } = await two.outcome(path, request);
    assert.equal(code, Code.FAILED_PRECONDITION, path);
    assert.match(message, /^etcd-braid: the proxies would be locked out: "braid" is their own user/);
  }
  const code = Code.FAILED_PRECONDITION;
  const message = "etcd-braid: the proxies would be locked out: their own user needs the role root";
  assert.deepEqual(await one.outcome(Auth.RoleDelete, DELETE_ROOT), { code, message });
  await assertSame();
});

test("once it is on, both proxies work, calls without a token are refused, and watches stay open", async () => {
  const seen: string[] = [];
  let created = false;
  const stream = two.connection.stream(Watch.Watch, {
    message: (message) => {
      created ||= WatchResponse.decode(message).created;
      for (const { kv } of WatchResponse.decode(message).events) seen.push(Buffer.from(kv!.key).toString());
    },
    closed: () => seen.push("closed"),
  });
  const request = { key: bytes("/a"), rangeEnd: bytes("/b") };
  stream.send(WatchRequest.encode({ kind: "create", request }));
  await until("the watch is there", () => created);
  assert.deepEqual(await puts(one), ALL_OK);
  await until("the watch shows what was put before", () => seen.length >= KEYS.length);
  assert.deepEqual(await one.outcome(Auth.AuthEnable, EMPTY), OK);
  for (const client of [one, two])
    assert.deepEqual(
      await puts(client),
      KEYS.map(() => EMPTY_USER),
    );
  root = await one.login("root", "root-secret");
  assert.deepEqual(await puts(two, root), ALL_OK);
  await until("the watch shows what was put after", () => seen.length >= 2 * KEYS.length);
  stream.cancel();
  assert.deepEqual(seen.sort(), [...KEYS, ...KEYS].sort(), "the watch has not ended");
  assert.equal(await isEnabled(), true);
});

test("concurrent changes through two proxies leave all shards the same", async () => {
  const act = (client: AuthClient, path: string, request: Uint8Array) => client.outcome(path, request, root);
  await act(one, Auth.RoleAdd, AuthRoleAddRequest.encode({ name: "busy" }));
  await addUser("busy", "first");
  const range = { key: bytes("/a"), rangeEnd: bytes("/b") };
  const changes = [one, two].flatMap((client, n) =>
    Array.from({ length: 4 }, (_, i) => [
      act(
        client,
        Auth.RoleGrantPermission,
        AuthRoleGrantPermissionRequest.encode({ name: "busy", perm: { permType: (i + n) % 3, ...range } }),
      ),
      act(
        client,
        Auth.RoleRevokePermission,
        AuthRoleRevokePermissionRequest.encode({ role: "busy", ...range }),
      ),
      act(client, Auth.UserGrantRole, AuthUserGrantRoleRequest.encode({ user: "busy", role: "busy" })),
      act(client, Auth.UserRevokeRole, AuthUserRevokeRoleRequest.encode({ name: "busy", role: "busy" })),
      act(
        client,
        Auth.UserChangePassword,
        AuthUserChangePasswordRequest.encode({ name: "busy", password: `p${n}${i}` }),
      ),
    ]).flat(),
  );
  for (const { message } of await Promise.all(changes)) assert.doesNotMatch(message, /etcd-braid/);
  await assertSame();
  // The same password has won on all shards.
  const passwords = ["first", "p00", "p01", "p02", "p03", "p10", "p11", "p12", "p13"];
  const right = await Promise.all(
    passwords.map((password) =>
      one.login("busy", password).then(
        () => 1,
        () => 0,
      ),
    ),
  );
  assert.equal(
    right.reduce((sum: number, one) => sum + one, 0),
    1,
  );
});

test("while a shard is down, no change is begun, the error names it, and logins work", async () => {
  await store.shards[2]!.kill();
  const { code, message } = await addUser("never", "x");
  assert.equal(code, Code.UNAVAILABLE);
  assert.match(message, /shard "shard2"/);
  const meanwhile = await two.login("root", "root-secret");
  assert.ok((await puts(two, meanwhile)).some((outcome) => outcome.code === 0));
  await store.shards[2]!.restart();
  await until("the shard is back", async () => (await puts(one, root)).every(({ code }) => code === 0));
  const { users } = AuthUserListResponse.decode(await one.call(Auth.UserList, EMPTY, root));
  assert.ok(!users.includes("never"));
  await assertSame();
});

test("a change that one shard refuses is undone on the others; braid auth repair shows and repairs the difference", async () => {
  const token = await direct[1]!.login("root", "root-secret");
  const stranger = AuthUserAddRequest.encode({ name: "stranger", password: "x" });
  await direct[1]!.call(Auth.UserAdd, stranger, token);
  await direct[1]!
    .call(Auth.UserRevokeRole, AuthUserRevokeRoleRequest.encode({ name: "busy", role: "busy" }), token)
    .catch(() => {});
  const refused = await addUser("stranger", "y");
  assert.equal(
    refused.message,
    'etcd-braid: not carried out on all shards: shard "shard1": etcdserver: user name already exists; ' +
      'undone on shard "shard0", shard "shard2"; `braid auth repair` shows how the shards differ, and repairs them with --fix',
  );
  assert.match(
    (await one.outcome(Auth.UserList, EMPTY, root)).message,
    /the shards do not have the same users and roles/,
  );
  await direct[2]!.call(
    Auth.UserDelete,
    AuthUserDeleteRequest.encode({ name: "busy" }),
    await direct[2]!.login("root", "root-secret"),
  );

  const file = join(temporaryFolder(), "shards.yaml");
  writeFileSync(file, storeConfig(store.shards, 1, { auth: OWN }));
  const shown = await braid("auth", "repair", "--config", file);
  assert.equal(shown.code, 1);
  assert.match(shown.stdout, /changes on shard shard1 to match shard shard0:\n {2}delete user stranger\n/);
  assert.match(
    shown.stdout,
    /changes on shard shard2 to match shard shard0:\n {2}add user busy, with a random password/,
  );
  assert.equal(
    (await braid("auth", "repair", "--fix", "--config", file)).code,
    2,
    "the source has to be named",
  );
  const mended = await braid("auth", "repair", "--fix", "--source", "shard0", "--config", file);
  assert.equal(mended.code, 0, mended.stderr);
  assert.match(mended.stdout, /User busy cannot log in until its password is set/);
  await assertSame();
  assert.equal((await braid("auth", "repair", "--config", file)).code, 0);
  const request = AuthUserChangePasswordRequest.encode({ name: "busy", password: "mended" });
  assert.deepEqual(await one.outcome(Auth.UserChangePassword, request, root), OK);
  await two.login("busy", "mended");
});

test("the proxies' own user cannot be removed", async () => {
  const name = OWN.user;
  for (const [path, request] of HARMFUL) {
    const { code, message } = await two.outcome(path, request, root);
    assert.equal(code, Code.FAILED_PRECONDITION);
    assert.match(message, /^etcd-braid: the proxies would be locked out: "braid" is their own user/);
    assert.deepEqual(
      await two.outcome(path, request),
      EMPTY_USER,
      "other clients do not learn which user that is",
    );
  }
  const token = await direct[0]!.login("root", "root-secret");
  const byEtcd = await direct[0]!.outcome(Auth.RoleDelete, DELETE_ROOT, token);
  assert.deepEqual(await two.outcome(Auth.RoleDelete, DELETE_ROOT, root), byEtcd);
  const same = AuthUserChangePasswordRequest.encode({ name, password: OWN.password });
  assert.deepEqual(await two.outcome(Auth.UserChangePassword, same, root), OK);
  for (const client of [one, two]) assert.deepEqual(await puts(client, root), ALL_OK);
});

test("a proxy that died with the lock delays changes until its lease ends; clients do not see that lease", async () => {
  const host = direct[0]!;
  const token = await host.login("root", "root-secret");
  await host.call(Lease.LeaseGrant, LeaseGrantRequest.encode({ id: ADMIN_LOCK, ttl: 1 }), token);
  const { leases } = LeaseLeasesResponse.decode(await one.call(Lease.LeaseLeases, EMPTY, root));
  assert.deepEqual(leases, []);
  const revoke = await one.outcome(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: ADMIN_LOCK }), root);
  assert.equal(revoke.message, "etcdserver: requested lease not found");
  const look = await one.call(Lease.LeaseTimeToLive, LeaseTimeToLiveRequest.encode({ id: ADMIN_LOCK }), root);
  assert.equal(LeaseTimeToLiveResponse.decode(look).ttl, -1);
  assert.deepEqual(await addUser("late", "x"), OK);
  const taken = LeaseGrantRequest.encode({ id: ADMIN_LOCK, ttl: 60 });
  assert.equal(
    (await one.outcome(Lease.LeaseGrant, taken, root)).message,
    "etcdserver: lease already exists",
  );
  await assertSame();
});

test("after it is turned off, all is as before", async () => {
  assert.deepEqual(await two.outcome(Auth.AuthDisable, EMPTY, root), OK);
  root = undefined;
  assert.equal(await isEnabled(), false);
  for (const client of [one, two]) assert.deepEqual(await puts(client), ALL_OK);
  assert.deepEqual(await one.outcome(Auth.AuthEnable, EMPTY), OK);
  root = await two.login("root", "root-secret");
  for (const client of [one, two]) assert.deepEqual(await puts(client, root), ALL_OK);
  assert.deepEqual(
    await puts(two),
    KEYS.map(() => EMPTY_USER),
  );
});
