import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code } from "../../src/status/error.js";
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  PutRequest,
  RangeRequest,
} from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import { AuthClient, OK, type Outcome } from "../auth/client.js";
import { as, ok, ROOT, startGuardedStore } from "../auth/support.js";
import { Scrape } from "../ops/scrape.js";
import { startEtcdctl } from "../support/etcdctl.js";
import type { TestStore } from "../support/store.js";
import { until } from "../support/until.js";

// Nothing is added to what was saved up, which is 10, during a test.
const TEN = { putsPerSecond: 0.01, burstSeconds: 1000 };

let store: TestStore;
let client: AuthClient;
const tokens: Record<string, string> = {};

before(async () => {
  store = await startGuardedStore({
    shards: 2,
    config: {
      tenants: [
        { name: "shop", prefix: "/shop/", limits: TEN },
        { name: "private", prefix: "/private/", limits: TEN },
        { name: "guest", prefix: "/guest/", limits: TEN },
        { name: "bob", user: "bob", limits: { ...TEN, leases: 2 } },
        { name: "eyes", prefix: "/eyes/", limits: { watches: 1 } },
        { name: "both", prefix: "/both/", user: "carol", limits: TEN },
      ],
    },
  });
  client = new AuthClient(store.endpoint);
  for (const [user, prefix] of [
    ["alice", "/shop/"],
    ["bob", "/shop/"],
    ["carol", "/both/"],
    ["mallory", "/mallory/"],
  ]) {
    await ok(as(ROOT, store.endpoint, "role", "add", user!));
    await ok(
      as(ROOT, store.endpoint, "role", "grant-permission", user!, "--prefix=true", "readwrite", prefix!),
    );
    await ok(as(ROOT, store.endpoint, "user", "add", `${user}:secret`));
    await ok(as(ROOT, store.endpoint, "user", "grant-role", user!, user!));
    tokens[user!] = await client.login(user!, "secret");
  }
  await ok(as(ROOT, store.endpoint, "role", "add", "guest"));
  await ok(as(ROOT, store.endpoint, "role", "grant-permission", "guest", "--prefix=true", "read", "/guest/"));
  await ok(
    as(
      ROOT,
      store.endpoint,
      "role",
      "grant-permission",
      "guest",
      "--prefix=true",
      "readwrite",
      "/guest/own/",
    ),
  );
  await ok(as(ROOT, store.endpoint, "user", "grant-role", "mallory", "guest"));
  tokens.root = await client.login("root", "root-secret-42");
});

after(async () => {
  client?.close();
  await store?.remove();
});

const bytes = (text: string) => Buffer.from(text);
const put = (user: string, key: string) =>
  client.outcome(KV.Put, PutRequest.encode({ key: bytes(key), value: bytes("v") }), tokens[user]);
const grant = (user: string, ttl = 3600) =>
  client
    .call(Lease.LeaseGrant, LeaseGrantRequest.encode({ ttl }), tokens[user])
    .then(LeaseGrantResponse.decode);

function isAbove({ code, message }: Outcome, name: string, limit: string): void {
  assert.equal(code, Code.RESOURCE_EXHAUSTED, message);
  assert.match(message, new RegExp(`^etcd-braid: tenant "${name}" is above its limit of .* \\(${limit}\\)`));
}

test("users without permission use up nothing of a tenant, and are told nothing about it", async () => {
  const denied = await Promise.all(Array.from({ length: 50 }, () => put("mallory", "/private/key")));
  assert.deepEqual(new Set(denied.map(({ message }) => message)), new Set(["etcdserver: permission denied"]));
  const unknown = await client.outcome(KV.Put, PutRequest.encode({ key: bytes("/private/key") }), "no-token");
  assert.equal(unknown.code, Code.UNAUTHENTICATED);
  for (let i = 0; i < 10; i++) assert.deepEqual(await put("root", "/private/key"), OK);
  isAbove(await put("root", "/private/key"), "private", "putsPerSecond");
  assert.equal((await put("mallory", "/private/key")).message, "etcdserver: permission denied");
  const metrics = await Scrape.of(`http://${store.endpoint}/metrics`);
  assert.equal(metrics.sum("braid_tenant_operations_total", { tenant: "private", operation: "put" }), 10);
  assert.equal(metrics.sum("braid_tenant_exceeded_total", { tenant: "private" }), 1);
});

test("who may only read uses nothing of the limit on puts, not even until a shard has denied it", async () => {
  const range = RangeRequest.encode({ key: bytes("/guest/key") });
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(await client.outcome(KV.Range, range, tokens.mallory), OK);
    const denied = await Promise.all(Array.from({ length: 50 }, () => put("mallory", "/guest/key")));
    assert.deepEqual(
      new Set(denied.map(({ message }) => message)),
      new Set(["etcdserver: permission denied"]),
    );
  }
});

test("what a shard denies to a client that it has let in before is given back", async () => {
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(await put("mallory", "/guest/own/key"), OK);
    for (let j = 0; j < 10; j++)
      assert.equal((await put("mallory", "/guest/key")).message, "etcdserver: permission denied");
  }
  for (let i = 0; i < 7; i++) assert.deepEqual(await put("root", "/guest/key"), OK);
  isAbove(await put("root", "/guest/key"), "guest", "putsPerSecond");
});

test("a request counts for the tenant of its key and for that of its user", async () => {
  for (let i = 0; i < 6; i++) assert.deepEqual(await put("bob", "/shop/key"), OK);
  for (let i = 0; i < 4; i++) assert.deepEqual(await put("alice", "/shop/key"), OK);
  isAbove(await put("alice", "/shop/key"), "shop", "putsPerSecond");
  isAbove(await put("bob", "/shop/key"), "shop", "putsPerSecond");
  assert.equal((await put("bob", "/elsewhere")).message, "etcdserver: permission denied");
});

test("a tenant with prefix and user counts a request once", async () => {
  for (let i = 0; i < 10; i++) assert.deepEqual(await put("carol", "/both/key"), OK);
  isAbove(await put("carol", "/both/key"), "both", "putsPerSecond");
  isAbove(await put("root", "/both/key"), "both", "putsPerSecond");
});

test("a user's own tenant counts all its requests", async () => {
  const range = RangeRequest.encode({ key: bytes("/shop/key") });
  assert.deepEqual(await client.outcome(KV.Range, range, tokens.bob), OK);
  const metrics = await Scrape.of(`http://${store.endpoint}/metrics`);
  assert.equal(metrics.sum("braid_tenant_operations_total", { tenant: "bob", operation: "range" }), 1);
  assert.equal(metrics.sum("braid_tenant_operations_total", { tenant: "bob", operation: "put" }), 7);
});

test("what a user may not do counts for its own tenant, whatever the keys are", async () => {
  const denied = "etcdserver: permission denied";
  // 7 of 10 were used. The first one is for the prefix of a tenant that does not know the user.
  for (const key of ["/private/key", "/elsewhere", "/private/key"])
    assert.equal((await put("bob", key)).message, denied);
  for (const key of ["/private/key", "/elsewhere"]) isAbove(await put("bob", key), "bob", "putsPerSecond");
  const metrics = await Scrape.of(`http://${store.endpoint}/metrics`);
  assert.equal(metrics.sum("braid_tenant_operations_total", { tenant: "private", operation: "put" }), 10);
});

test("watches without permission use up nothing of a tenant, and are told nothing about it", async () => {
  const reasons = (user: string) =>
    Promise.all(
      Array.from(
        { length: 3 },
        async () => (await client.watch({ key: bytes("/eyes/key") }, tokens[user])).cancelReason,
      ),
    );
  const denied = Array(3).fill("rpc error: code = PermissionDenied desc = etcdserver: permission denied");
  assert.deepEqual(await reasons("mallory"), denied);
  const open = startEtcdctl(store.endpoint, "--user", ROOT, "watch", "--prefix", "/eyes/");
  const count = async () =>
    (await Scrape.of(`http://${store.endpoint}/metrics`)).sum("braid_tenant_watches", { tenant: "eyes" });
  await until("it is open", async () => (await count()) === 1);
  assert.deepEqual(await reasons("mallory"), denied);
  for (const reason of await reasons("root"))
    assert.match(reason, /^rpc error: code = ResourceExhausted desc = etcd-braid: tenant "eyes"/);
  await open.stop();
  await until("it has ended", async () => (await count()) === 0);
});

test("leases of a user: refused above the limit, free again after a revocation or the end", async () => {
  const count = async () =>
    (await Scrape.of(`http://${store.endpoint}/metrics`)).sum("braid_tenant_leases", { tenant: "bob" });
  const [first] = await Promise.all([grant("bob"), grant("bob")]);
  assert.equal(await count(), 2);
  const refused = await client.outcome(Lease.LeaseGrant, LeaseGrantRequest.encode({ ttl: 60 }), tokens.bob);
  isAbove(refused, "bob", "leases");
  await grant("alice");
  await client.call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: first.id }), tokens.bob);
  const short = await grant("bob", 2);
  assert.equal(await count(), 2);
  const since = performance.now();
  const alive = startEtcdctl(
    store.endpoint,
    "--user",
    "bob:secret",
    "lease",
    "keep-alive",
    short.id.toString(16),
  );
  await until("it would have ended", () => performance.now() - since > 2_500);
  assert.equal(await count(), 2, "it was renewed");
  await alive.stop();
  await until("it has ended", async () => (await count()) === 1);
  await grant("bob");
});
