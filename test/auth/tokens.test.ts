import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code } from "../../src/status/error.js";
import {
  AuthRoleAddRequest,
  AuthRoleGrantPermissionRequest,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserGrantRoleRequest,
  DeleteRangeRequest,
  LeaseGrantRequest,
  LeaseRevokeRequest,
  PutRequest,
  RangeRequest,
  RangeResponse,
} from "../../src/wire/messages.js";
import { Auth, KV, Lease } from "../../src/wire/paths.js";
import { Scrape } from "../ops/scrape.js";
import type { EtcdProcess } from "../support/etcd.js";
import type { TestStore } from "../support/store.js";
import { AuthClient, OK } from "./client.js";
import { OWN, ROOT, startGuardedStore } from "./support.js";

const INVALID = { code: Code.UNAUTHENTICATED, message: "etcdserver: invalid auth token" };
const bytes = (text: string) => Buffer.from(text);
const KEYS = ["/a0/x", "/a1/x", "/a2/x", "/a3/x", "/a4/x", "/a5/x"];
const EVERYWHERE = RangeRequest.encode({ key: bytes("/a"), rangeEnd: bytes("/b") });

let store: TestStore;
let one: AuthClient;
let two: AuthClient;
let root: string;
/** All secrets that the tests use. */
const secrets: string[] = [OWN.password, ROOT.split(":")[1]!];

before(async () => {
  store = await startGuardedStore({ proxies: 2 });
  [one, two] = store.proxies.map(({ endpoint }) => new AuthClient(endpoint)) as [AuthClient, AuthClient];
  root = await login(one, "root", ROOT.split(":")[1]!);
  const perm = { permType: 2, key: bytes("/a"), rangeEnd: bytes("/b") };
  await one.call(Auth.RoleAdd, AuthRoleAddRequest.encode({ name: "apps" }), root);
  await one.call(
    Auth.RoleGrantPermission,
    AuthRoleGrantPermissionRequest.encode({ name: "apps", perm }),
    root,
  );
});
after(async () => {
  one.close();
  two.close();
  await store.remove();
});

async function login(client: AuthClient, user: string, password: string): Promise<string> {
  const token = await client.login(user, password);
  secrets.push(password, token);
  return token;
}

/** Adds a user that may do anything below /a. Resolves to its password. */
async function addUser(name: string): Promise<string> {
  const password = `${name}-secret-${Math.random()}`;
  secrets.push(password);
  await one.call(Auth.UserAdd, AuthUserAddRequest.encode({ name, password }), root);
  await one.call(Auth.UserGrantRole, AuthUserGrantRoleRequest.encode({ user: name, role: "apps" }), root);
  return password;
}

/** Number of Authenticate calls that the shards have counted. */
async function authenticates(shards: readonly EtcdProcess[] = store.shards): Promise<number> {
  const counts = await Promise.all(
    shards.map(async ({ url }) => {
      const text = await (await fetch(`${url}/metrics`)).text();
      const lines = text.match(/^grpc_server_started_total\{grpc_method="Authenticate".*$/gm) ?? [];
      return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

const put = (key: string, token: string, client = one) =>
  client.outcome(KV.Put, PutRequest.encode({ key: bytes(key) }), token);

test("fifty concurrent logins with the same password cost each shard one Authenticate, later ones none", async () => {
  const password = await addUser("storm");
  const before = await authenticates();
  const tokens = await Promise.all(Array.from({ length: 50 }, () => login(one, "storm", password)));
  assert.equal((await authenticates()) - before, store.shards.length);
  assert.equal(new Set(tokens).size, 50, "each login has a different token");
  for (let i = 0; i < 10; i++) await login(one, "storm", password);
  assert.equal((await authenticates()) - before, store.shards.length);
  for (const key of KEYS) assert.deepEqual(await put(key, tokens[49]!), OK);
});

test("a thousand requests cost no Authenticate, and one per shard at another proxy", async () => {
  const password = await addUser("worker");
  const token = await login(one, "worker", password);
  const before = await authenticates();
  const work = (client: AuthClient) =>
    Promise.all(Array.from({ length: 500 }, (_, i) => put(KEYS[i % KEYS.length]!, token, client)));
  assert.ok((await work(one)).every(({ code }) => code === 0));
  assert.equal((await authenticates()) - before, 0);
  assert.ok((await work(two)).every(({ code }) => code === 0));
  assert.equal((await authenticates()) - before, store.shards.length);
});

test("metrics show how many tokens and users a proxy remembers", async () => {
  const remembered = async () => {
    const now = await Scrape.of(`http://${store.proxies[0]!.endpoint}/metrics`);
    const of = (kind: string) => now.sum("braid_auth_remembered", { kind });
    return { tokens: of("tokens"), users: of("users") };
  };
  const before = await remembered();
  const password = await addUser("counted");
  const tokens = [await login(one, "counted", password), await login(one, "counted", password)];
  for (const token of [...tokens, ...tokens]) assert.deepEqual(await put(KEYS[0]!, token), OK);
  const after = await remembered();
  assert.deepEqual(after, { tokens: before.tokens + 2, users: before.users + 1 });
});

test("equal concurrent reads share a response only within one user", async () => {
  const password = `guest-secret-${Math.random()}`;
  await one.call(Auth.UserAdd, AuthUserAddRequest.encode({ name: "guest", password }), root);
  const guest = await login(one, "guest", password);
  const requests = [RangeRequest.encode({ key: bytes("/a0/x") }), EVERYWHERE];
  const askers = Array.from({ length: 40 }, (_, i) => [root, guest, undefined][i % 3]);
  for (let round = 0; round < 5; round++) {
    const outcomes = await Promise.all(
      requests.flatMap((request) => askers.map((token) => one.outcome(KV.Range, request, token))),
    );
    for (const [i, { message }] of outcomes.entries()) {
      const token = askers[i % askers.length];
      const expected =
        token === root
          ? ""
          : token === guest
            ? "etcdserver: permission denied"
            : "etcdserver: user name is empty";
      assert.equal(message, expected);
    }
  }
});

test("a wrong password gets etcd's error, also when the right one is remembered", async () => {
  const password = await addUser("careful");
  await login(one, "careful", password);
  const refused = {
    code: Code.INVALID_ARGUMENT,
    message: "etcdserver: authentication failed, invalid user ID or password",
  };
  for (const [user, wrong] of [
    ["careful", "wrong"],
    ["careful", ""],
    ["nobody", password],
    ["", ""],
    ["careful", "x".repeat(100_000)],
  ]) {
    const outcome = await one.login(user!, wrong!).then(
      () => OK,
      ({ code, message }) => ({ code, message }),
    );
    assert.deepEqual(outcome, refused);
  }
});

test("when shards forget all tokens, clients do not notice", async () => {
  const password = await addUser("steady");
  const token = await login(one, "steady", password);
  for (const shard of store.shards) await shard.restart();
  for (const key of KEYS) assert.deepEqual(await put(key, token), OK);
  const all = RangeResponse.decode(await one.call(KV.Range, EVERYWHERE, token));
  assert.equal(all.kvs.length, KEYS.length);
  const watched = await one.watch({ key: bytes("/a"), rangeEnd: bytes("/b") }, token);
  assert.equal(watched.canceled, false);
});

test("changing a password ends all tokens of the old one, at once and without many logins", async () => {
  const password = await addUser("changing");
  const token = await login(one, "changing", password);
  assert.deepEqual(await put(KEYS[0]!, token, two), OK);
  const request = AuthUserChangePasswordRequest.encode({ name: "changing", password: "changing-new-secret" });
  secrets.push("changing-new-secret");
  await one.call(Auth.UserChangePassword, request, root);
  const before = await authenticates();
  for (let i = 0; i < 10; i++) {
    for (const client of [one, two]) {
      for (const key of KEYS) assert.deepEqual(await put(key, token, client), INVALID);
      assert.deepEqual(await client.outcome(KV.Range, EVERYWHERE, token), INVALID);
    }
  }
  const more = (await authenticates()) - before;
  // Each proxy logs in once at each shard. Its own tokens, which the shards have forgotten, may need a login, too.
  assert.ok(more <= 4 * store.shards.length, `${more} logins`);
  const fresh = await login(two, "changing", "changing-new-secret");
  for (const key of KEYS) assert.deepEqual(await put(key, fresh), OK);
  await assert.rejects(one.login("changing", password), /authentication failed/);
});

test("a deleted user is refused at once", async () => {
  const password = await addUser("leaver");
  const token = await login(one, "leaver", password);
  assert.deepEqual(await put(KEYS[0]!, token), OK);
  await two.call(Auth.UserDelete, AuthUserDeleteRequest.encode({ name: "leaver" }), root);
  for (const key of KEYS) assert.deepEqual(await put(key, token), INVALID);
  await assert.rejects(one.login("leaver", password), /authentication failed/);
});

test("a lease is not revoked by a user that may not write all its keys, on any shard", async () => {
  const password = await addUser("lessee");
  const token = await login(one, "lessee", password);
  const keys = [...KEYS, "/elsewhere/x"];
  const left = async () => {
    const request = RangeRequest.encode({ key: bytes("/"), rangeEnd: bytes("0"), countOnly: true });
    return RangeResponse.decode(await one.call(KV.Range, request, root)).count;
  };
  const denied = { code: Code.PERMISSION_DENIED, message: "etcdserver: permission denied" };
  // Their homes are on different shards.
  for (const id of [4711n, 4712n, 4713n, 4714n]) {
    await one.call(Lease.LeaseGrant, LeaseGrantRequest.encode({ id, ttl: 600 }), token);
    for (const key of keys) {
      await one.call(KV.Put, PutRequest.encode({ key: bytes(key), lease: id }), root);
    }
    const revoke = LeaseRevokeRequest.encode({ id });
    assert.deepEqual(await two.outcome(Lease.LeaseRevoke, revoke, token), denied);
    const attach = (key: string) =>
      two.outcome(KV.Put, PutRequest.encode({ key: bytes(key), lease: id }), token);
    for (const key of KEYS) assert.deepEqual(await attach(key), denied);
    assert.equal(await left(), keys.length);
    await one.call(KV.DeleteRange, DeleteRangeRequest.encode({ key: bytes("/elsewhere/x") }), root);
    for (const key of KEYS) assert.deepEqual(await attach(key), OK);
    assert.deepEqual(await two.outcome(Lease.LeaseRevoke, revoke, token), OK);
    assert.equal(await left(), 0);
  }
});

test("invalid tokens get etcd's error, over gRPC and over JSON", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e9);
  console.log(`# SEED=${seed}`);
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state % below;
  };
  const chars = "ABCabc019-_.=+/ ~!";
  const text = (length: number) =>
    Array.from({ length }, () => chars[random(chars.length)])
      .join("")
      .trim();
  const flip = (token: string) => {
    const at = random(token.length);
    const other = chars[random(chars.length - 4)]!;
    return token.slice(0, at) + (other === token[at] ? "z" : other) + token.slice(at + 1);
  };
  const tokens = [
    "",
    "invalid",
    "braid1-",
    "braid1-AAAA",
    ...Array.from({ length: 60 }, () => text(random(200))),
    ...Array.from({ length: 60 }, () => `braid1-${text(random(200))}`),
    ...Array.from({ length: 60 }, () => flip(root)),
    ...Array.from({ length: 20 }, () => root.slice(0, random(root.length))),
    `${root}A`,
    `braid1-${"A".repeat(7_000)}`,
  ];
  const request = RangeRequest.encode({ key: bytes("/a0/x") });
  const before = await authenticates();
  for (const token of tokens) assert.deepEqual(await one.outcome(KV.Range, request, token), INVALID, token);
  for (const token of tokens) {
    const response = await fetch(`http://${store.endpoint}/v3/kv/range`, {
      method: "POST",
      headers: { Authorization: token },
      body: JSON.stringify({ key: bytes("/a0/x").toString("base64") }),
    });
    assert.equal(response.status, 401, token);
    assert.equal(((await response.json()) as { error: string }).error, INVALID.message);
  }
  assert.equal(
    (await authenticates()) - before,
    0,
    "no shard gets a login for a token that no proxy has sealed",
  );
});

test("the JSON gateway accepts and returns tokens as etcd's does", async () => {
  const ask = async (path: string, body: object, token?: string) => {
    const headers = new Headers(token === undefined ? {} : { Authorization: token });
    const response = await fetch(`http://${store.endpoint}${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as { token?: string; error?: string } };
  };
  const [name, password] = ROOT.split(":");
  const { body } = await ask("/v3/auth/authenticate", { name, password });
  secrets.push(body.token!);
  const put = { key: bytes("/json").toString("base64"), value: "" };
  assert.equal((await ask("/v3/kv/put", put, body.token)).status, 200);
  assert.equal((await ask("/v3/kv/put", put)).body.error, "etcdserver: user name is empty");
});

test("no secret is in any log", () => {
  for (const proxy of store.proxies) {
    for (const secret of secrets) assert.ok(!proxy.logs().includes(secret));
  }
});
