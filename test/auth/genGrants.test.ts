import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { isGenGrant } from "../../src/services/auth/genGrants.js";
import { Code } from "../../src/status/error.js";
import { MARKS_BEGIN, MARKS_END } from "../../src/timeline/keys.js";
import {
  AuthRoleAddRequest,
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthUserAddRequest,
  AuthUserGrantRoleRequest,
  DeleteRangeRequest,
  EMPTY,
  LeaseGrantRequest,
  type Permission,
  PutRequest,
  RangeRequest,
  RangeResponse,
  TxnRequest,
} from "../../src/wire/messages.js";
import { Auth, KV, Lease } from "../../src/wire/paths.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { startStore, storeConfig, type TestStore } from "../support/store.js";
import { AuthClient, OK } from "./client.js";
import { addRoots, CHEAP, OWN, ROOT, startGuardedEtcds } from "./support.js";

/*
 * Every write compares gen, so roles need permission to read its key. The proxies grant it, and hide it. The tests build on
 * each other.
 */

const bytes = (text: string) => Buffer.from(text);
const KEYS = ["/app/0", "/app/1", "/app/2", "/app/3", "/app/4", "/app/5"];
const [ROOT_USER, ROOT_PASSWORD] = ROOT.split(":") as [string, string];
const DENIED = { code: Code.PERMISSION_DENIED, message: "etcdserver: permission denied" };

let store: TestStore;
let plain: EtcdProcess;
let etcd: AuthClient;
let proxy: AuthClient;
let shards: AuthClient[];
const root = new Map<AuthClient, string>();
const app = new Map<AuthClient, string>();
let genKey: Uint8Array;

const asRoot = (client: AuthClient, path: string, request: Uint8Array) =>
  client.call(path, request, root.get(client));
const outcome = (client: AuthClient, path: string, request: Uint8Array) =>
  client.outcome(path, request, root.get(client));

before(async () => {
  [[plain], store] = await Promise.all([
    startGuardedEtcds(1),
    startGuardedEtcds(3).then((backends) => startStore({ backends, config: { auth: OWN } })),
  ]);
  etcd = new AuthClient(plain.endpoint);
  proxy = new AuthClient(store.endpoint);
  shards = store.shards.map(({ endpoint }) => new AuthClient(endpoint));
  for (const client of [etcd, proxy, ...shards]) {
    root.set(client, await client.login(ROOT_USER, ROOT_PASSWORD));
  }
  const marks = RangeRequest.encode({ key: MARKS_BEGIN, rangeEnd: MARKS_END });
  genKey = RangeResponse.decode(await asRoot(shards[0], KV.Range, marks)).kvs[0]!.key;
  for (const client of [etcd, proxy]) {
    await makeApp((path, request) => asRoot(client, path, request));
    app.set(client, await client.login("app", "app-secret"));
  }
});
after(async () => {
  for (const client of [etcd, proxy, ...shards]) client.close();
  await Promise.all([store.remove(), plain.remove(), ...store.shards.map((shard) => shard.remove())]);
});

/** A user "app" with a role "apps" that may use the keys below /app/. */
async function makeApp(act: (path: string, request: Uint8Array) => Promise<unknown>): Promise<void> {
  const perm = { permType: 2, key: bytes("/app/"), rangeEnd: bytes("/app0") };
  await act(Auth.UserAdd, AuthUserAddRequest.encode({ name: "app", password: "app-secret" }));
  await act(Auth.RoleAdd, AuthRoleAddRequest.encode({ name: "apps" }));
  await act(Auth.UserGrantRole, AuthUserGrantRoleRequest.encode({ user: "app", role: "apps" }));
  await act(Auth.RoleGrantPermission, AuthRoleGrantPermissionRequest.encode({ name: "apps", perm }));
}

async function permissions(client: AuthClient, role = "apps"): Promise<Permission[]> {
  const response = await asRoot(client, Auth.RoleGet, AuthRoleGetRequest.encode({ role }));
  return AuthRoleGetResponse.decode(response).perm;
}

const hasGrant = async (shard: AuthClient) => (await permissions(shard)).some(isGenGrant);
const granted = () => Promise.all(shards.map(hasGrant));

/** The outcomes of writes by the user, one on each key. */
const writes = (client = proxy) =>
  Promise.all(
    KEYS.map((key) => client.outcome(KV.Put, PutRequest.encode({ key: bytes(key) }), app.get(client))),
  );
const ALL_OK = KEYS.map(() => OK);

/** Takes the permission away from a role on the shards, as if an older version had made the role. */
async function takeAway(role = "apps"): Promise<void> {
  const request = AuthRoleRevokePermissionRequest.encode({ role, key: genKey });
  for (const shard of shards) await asRoot(shard, Auth.RoleRevokePermission, request);
}

test("a role made through a proxy can write on all shards, in all ways", async () => {
  assert.deepEqual(await granted(), [true, true, true]);
  assert.deepEqual(await writes(), ALL_OK);
  const write = (key: string) => ({ kind: "put" as const, request: { key: bytes(key) } });
  for (const key of KEYS) {
    const success = [write(key)];
    for (const txn of [{ success }, { success, failure: success }]) {
      assert.deepEqual(await proxy.outcome(KV.Txn, TxnRequest.encode(txn), app.get(proxy)), OK);
    }
  }
  const all = DeleteRangeRequest.encode({ key: bytes("/app/"), rangeEnd: bytes("/app0"), prevKv: true });
  assert.deepEqual(await proxy.outcome(KV.DeleteRange, all, app.get(proxy)), OK);
});

test("clients do not see the permission, and it lets them read nothing through a proxy", async () => {
  assert.deepEqual(await permissions(proxy), await permissions(etcd));
  for (const range of [{ key: genKey }, { key: MARKS_BEGIN, rangeEnd: MARKS_END }]) {
    const [ours, theirs] = await Promise.all(
      [proxy, etcd].map((client) => client.outcome(KV.Range, RangeRequest.encode(range), app.get(client))),
    );
    if (ours!.code === Code.OK) {
      const response = await proxy.call(KV.Range, RangeRequest.encode(range), app.get(proxy));
      assert.equal(RangeResponse.decode(response).count, 0);
    } else assert.deepEqual(ours, theirs);
  }
  const put = PutRequest.encode({ key: genKey, value: bytes("0") });
  assert.deepEqual(await proxy.outcome(KV.Put, put, app.get(proxy)), DENIED);
});

test("a client can neither revoke nor replace the permission", async () => {
  for (const role of ["apps", "none", "root"]) {
    const request = AuthRoleRevokePermissionRequest.encode({ role, key: genKey });
    const answers = await Promise.all(
      [proxy, etcd].map((client) => outcome(client, Auth.RoleRevokePermission, request)),
    );
    assert.deepEqual(answers[0], answers[1], role);
    assert.notEqual(answers[0]!.code, Code.OK);
  }
  const user = AuthRoleRevokePermissionRequest.encode({ role: "apps", key: genKey });
  assert.deepEqual(await proxy.outcome(Auth.RoleRevokePermission, user, app.get(proxy)), DENIED);
  const perm = { permType: 1, key: genKey, rangeEnd: EMPTY };
  const grant = AuthRoleGrantPermissionRequest.encode({ name: "apps", perm });
  assert.deepEqual(await outcome(proxy, Auth.RoleGrantPermission, grant), {
    code: Code.INVALID_ARGUMENT,
    message: "etcd-braid: only the proxies grant permissions for a shard's mark",
  });
  assert.deepEqual(await granted(), [true, true, true]);
  assert.deepEqual(await writes(), ALL_OK);
});

test("a grant to an older role adds the permission; a grant to no role is refused as by etcd", async () => {
  await takeAway();
  assert.deepEqual(
    await writes(),
    KEYS.map(() => DENIED),
  );
  const perm = { permType: 2, key: bytes("/more"), rangeEnd: EMPTY };
  const grant = (name: string) => AuthRoleGrantPermissionRequest.encode({ name, perm });
  await asRoot(proxy, Auth.RoleGrantPermission, grant("apps"));
  assert.deepEqual(await writes(), ALL_OK);
  const [ours, theirs] = await Promise.all(
    [proxy, etcd].map((client) => outcome(client, Auth.RoleGrantPermission, grant("none"))),
  );
  assert.deepEqual(ours, theirs);
});

test("braid auth repair shows roles without the permission, and grants it", async () => {
  await takeAway();
  const file = join(temporaryFolder(), "shards.yaml");
  writeFileSync(file, storeConfig(store.shards, 1, { auth: OWN }));
  const shown = await braid("auth", "repair", "--config", file);
  assert.equal(shown.code, 1);
  const line = "let role apps read the shard's mark, as all writes do";
  assert.equal(shown.stdout.split(line).length - 1, 3, shown.stdout);
  assert.doesNotMatch(shown.stdout, /role root/);
  assert.deepEqual(await granted(), [false, false, false]);
  const repaired = await braid("auth", "repair", "--fix", "--source", "shard0", "--config", file);
  assert.equal(repaired.code, 0, repaired.stderr);
  assert.deepEqual(await writes(), ALL_OK);
  const again = await braid("auth", "repair", "--config", file);
  assert.equal(again.code, 0, again.stdout);
});

test("starting proxies grant it, several at once", async () => {
  await takeAway();
  assert.deepEqual(
    await writes(),
    KEYS.map(() => DENIED),
  );
  const started = await Promise.all([store.addProxy(), store.addProxy()]);
  assert.deepEqual(await granted(), [true, true, true]);
  assert.deepEqual(await writes(), ALL_OK);
  const said = started.map((each) => each.logs()).join("\n");
  assert.match(said, /"roles":\["apps"\].*allowed roles to read the shard's mark/);
  await Promise.all(started.map((each) => each.stop()));
});

test("turning authentication on through a proxy grants it to roles that were made without one", async () => {
  const backends = await startEtcds(2, CHEAP);
  const off = await startStore({ backends, config: { auth: OWN } });
  const client = new AuthClient(off.endpoint);
  try {
    for (const { endpoint } of backends) {
      await addRoots(endpoint);
      const direct = new AuthClient(endpoint);
      await makeApp((path, request) => direct.call(path, request));
      direct.close();
    }
    assert.deepEqual(await client.outcome(Auth.AuthEnable, EMPTY), OK);
    app.set(client, await client.login("app", "app-secret"));
    assert.deepEqual(await writes(client), ALL_OK);
  } finally {
    client.close();
    await off.remove();
    await Promise.all(backends.map((each) => each.remove()));
  }
});

test("on one shard, writes with leases and transactions with writes on both branches are allowed as on etcd", async () => {
  // One shard, so that all keys are on it.
  const backends = await startGuardedEtcds(1);
  const single = await startStore({ backends, config: { auth: OWN } });
  const client = new AuthClient(single.endpoint);
  try {
    root.set(client, await client.login(ROOT_USER, ROOT_PASSWORD));
    await makeApp((path, request) => asRoot(client, path, request));
    app.set(client, await client.login("app", "app-secret"));
    for (const side of [client, etcd]) {
      for (const id of [1n, 2n])
        await asRoot(side, Lease.LeaseGrant, LeaseGrantRequest.encode({ id, ttl: 600 }));
      await asRoot(side, KV.Put, PutRequest.encode({ key: bytes("/app/mine"), lease: 1n }));
      await asRoot(side, KV.Put, PutRequest.encode({ key: bytes("/theirs"), lease: 2n }));
    }
    for (const lease of [1n, 2n, 3n]) {
      const put = PutRequest.encode({ key: bytes("/app/new"), lease });
      const [ours, theirs] = await Promise.all(
        [client, etcd].map((side) => side.outcome(KV.Put, put, app.get(side))),
      );
      assert.deepEqual(ours, theirs, `lease ${lease}`);
      if (lease === 2n) assert.deepEqual(ours, DENIED);
    }
    const write = (key: string) => ({ kind: "put" as const, request: { key: bytes(key) } });
    const read = (key: string) => ({ kind: "range" as const, request: { key: bytes(key) } });
    const exists = (key: string) => ({ key: bytes(key), target: 0, result: 1, version: 0 }) as const;
    const [mine, theirs] = ["/app/mine", "/theirs"] as const;
    for (const [i, txn] of [
      { compare: [exists(mine)], success: [write(mine)], failure: [write(mine)] },
      { compare: [exists(theirs)], success: [write(mine)], failure: [write(mine)] },
      { compare: [exists(mine)], success: [write(theirs)], failure: [write(mine)] },
      { compare: [exists(mine)], success: [write(mine)], failure: [write(theirs)] },
      { compare: [exists(mine)], success: [read(theirs)], failure: [write(mine)] },
      { compare: [exists(mine)], success: [write(mine)], failure: [write(mine), read(theirs)] },
    ].entries()) {
      const [ours, others] = await Promise.all(
        [client, etcd].map((side) => side.outcome(KV.Txn, TxnRequest.encode(txn), app.get(side))),
      );
      assert.deepEqual(ours, others, `transaction ${i}`);
      assert.deepEqual(ours, i === 0 ? OK : DENIED);
    }
  } finally {
    client.close();
    await single.remove();
    await Promise.all(backends.map((each) => each.remove()));
  }
});
