import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Code } from "../../src/status/error.js";
import {
  DeleteRangeRequest,
  type Init,
  PutRequest,
  type RequestOp,
  TxnRequest,
} from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { AuthClient, OK, type Outcome } from "../auth/client.js";
import { Scrape } from "../ops/scrape.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

const TENANTS = [
  { name: "keys", prefix: "/keys/", limits: { storedKeys: 5 } },
  { name: "bytes", prefix: "/bytes/", limits: { storedBytes: 1_000 } },
  { name: "exact", prefix: "/exact/", limits: { storedKeys: 6, storedBytes: 6 * "/exact/0v".length } },
  { name: "seen", prefix: "/seen/", mode: "observe", limits: { storedKeys: 5 } },
];

let store: TestStore;

before(async () => {
  store = await startStore({ shards: 2, config: { workers: 2 } });
});
after(() => store?.remove());

const bytes = (text: string) => Buffer.from(text);

/** Makes a call on a connection of its own to each of the two workers, which get connections in turn. */
async function onBoth(call: (client: AuthClient) => Promise<Outcome>): Promise<Outcome[]> {
  const clients = [new AuthClient(store.endpoint), new AuthClient(store.endpoint)];
  const outcomes: Outcome[] = [];
  for (const client of clients) outcomes.push(await call(client));
  for (const client of clients) client.close();
  return outcomes;
}
const put = (key: string, value = "v") =>
  onBoth((client) => client.outcome(KV.Put, PutRequest.encode({ key: bytes(key), value: bytes(value) })));
const txn = (op: Init<RequestOp>) =>
  onBoth((client) => client.outcome(KV.Txn, TxnRequest.encode({ success: [op] })));
const scrape = () => Scrape.of(`http://${store.endpoint}/metrics`);

/** The first count begins when there are tenants. */
async function addTenants(): Promise<void> {
  const [proxy] = store.proxies;
  const config = JSON.parse(readFileSync(proxy!.configFile, "utf8"));
  writeFileSync(proxy!.configFile, JSON.stringify({ ...config, tenants: TENANTS }));
  process.kill(proxy!.pid, "SIGHUP");
}

test("a tenant above what it may store can delete but not put, at each worker, until it has deleted enough", async () => {
  for (const name of ["keys", "exact", "seen"])
    for (let i = 0; i < 6; i++) assert.deepEqual(await put(`/${name}/${i}`), [OK, OK], "not counted yet");
  assert.deepEqual(await put("/bytes/a", "x".repeat(2_000)), [OK, OK]);
  await addTenants();
  let outcomes: Outcome[] = [];
  await until("both workers know what is stored", async () => {
    outcomes = await put("/keys/5");
    return outcomes.every(({ code }) => code !== OK.code);
  });
  for (const { code, message } of outcomes) {
    assert.equal(code, Code.RESOURCE_EXHAUSTED);
    assert.equal(
      message,
      'etcd-braid: tenant "keys" is above its limit of 5 stored keys (storedKeys); delete keys, and try again some seconds later',
    );
  }
  for (const { message } of await put("/bytes/a", "small"))
    assert.match(
      message,
      /^etcd-braid: tenant "bytes" .* 1000 stored bytes of keys and values \(storedBytes\)/,
    );
  for (const { code } of await txn({ kind: "put", request: { key: bytes("/keys/0") } }))
    assert.equal(code, Code.RESOURCE_EXHAUSTED);
  assert.deepEqual(await txn({ kind: "range", request: { key: bytes("/keys/0") } }), [OK, OK]);
  assert.deepEqual(await put("/exact/0"), [OK, OK], "not above the limit");
  assert.deepEqual(await put("/seen/new"), [OK, OK], "only observed");
  const now = await scrape();
  for (const [tenant, keys] of [
    ["keys", 6],
    ["bytes", 1],
    ["exact", 6],
    ["seen", 6],
  ] as const)
    assert.equal(
      now.sum("braid_tenant_stored_keys", { tenant }),
      keys,
      `${tenant}: once, not for each worker`,
    );
  assert.equal(now.sum("braid_tenant_stored_bytes", { tenant: "bytes" }), 2_008);
  assert.equal(now.sum("braid_tenant_exceeded_total", { tenant: "seen", limit: "storedKeys" }), 2);

  const remove = (key: string) =>
    onBoth((client) => client.outcome(KV.DeleteRange, DeleteRangeRequest.encode({ key: bytes(key) })));
  const age = (await scrape()).sum("braid_tenant_stored_age_seconds", { tenant: "keys" });
  const passes = (key: string, value?: string) =>
    until(`${key} passes`, async () => (await put(key, value)).every(({ code }) => code === OK.code));
  const isRefused = (key: string, value?: string) =>
    until(`${key} is refused`, async () =>
      (await put(key, value)).every(({ code }) => code === Code.RESOURCE_EXHAUSTED),
    );
  assert.deepEqual(await remove("/keys/0"), [OK, OK]);
  await passes("/keys/1");
  await put("/keys/new");
  await isRefused("/keys/1");
  assert.deepEqual(await remove("/bytes/a"), [OK, OK]);
  await passes("/bytes/a", "small");
  // It is not a new key, but its size was seen.
  await put("/bytes/a", "x".repeat(2_000));
  await isRefused("/bytes/a", "x".repeat(2_000));
  const later = await scrape();
  assert.equal(later.sum("braid_tenant_stored_bytes", { tenant: "bytes" }), 2_008);
  assert.ok(
    later.sum("braid_tenant_stored_age_seconds", { tenant: "keys" }) > age,
    "nothing was counted again",
  );

  assert.deepEqual(await remove("/keys/new"), [OK, OK]);
  await store.proxies[0]!.restart();
  await until(
    "it is counted again",
    async () => (await scrape()).sum("braid_tenant_stored_keys", { tenant: "keys" }) === 5,
  );
  assert.deepEqual(await put("/keys/1"), [OK, OK]);
});
