import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, type TestContext, test } from "node:test";
import { Etcd3 } from "etcd3";
import { Code } from "../../src/status/error.js";
import {
  DeleteRangeRequest,
  type Init,
  PutRequest,
  RangeRequest,
  type RequestOp,
  TxnRequest,
} from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { AuthClient, OK, type Outcome } from "../auth/client.js";
import { Scrape } from "../ops/scrape.js";
import { etcdctl, startEtcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

// Rates are so low that nothing is added during a test: a tenant has what it saved up, 10 unless noted otherwise.
const TEN = 0.01;
const tenant = (name: string, limits: object, more: object = {}) => ({
  name,
  prefix: `/${name}/`,
  limits: { burstSeconds: 1000, ...limits },
  ...more,
});
const TENANTS = [
  tenant("puts", { putsPerSecond: TEN }),
  { name: "inner", prefix: "/puts/inner/", limits: {} },
  tenant("ranges", { rangesPerSecond: TEN }),
  tenant("txns", { putsPerSecond: TEN, rangesPerSecond: TEN, transactionsPerSecond: TEN }),
  tenant("other", { putsPerSecond: TEN }),
  tenant("in", { bytesInPerSecond: 1 }),
  tenant("out", { bytesOutPerSecond: 1 }),
  tenant("values", { maxValueBytes: 100 }),
  tenant("watches", { watches: 3 }),
  tenant("held", { watches: 1 }),
  tenant("seen", { putsPerSecond: TEN, maxValueBytes: 100, watches: 1 }, { mode: "observe" }),
  tenant("json", { putsPerSecond: TEN, rangesPerSecond: TEN }),
  tenant("npm", { putsPerSecond: TEN }),
  tenant("ctl", { putsPerSecond: 0.003 }),
  tenant("locks", { transactionsPerSecond: 0.002, watches: 1 }),
  tenant("later", { putsPerSecond: TEN }),
];

let store: TestStore;
let client: AuthClient;

before(async () => {
  store = await startStore({ shards: 2, config: { tenants: TENANTS } });
  client = new AuthClient(store.endpoint);
});

after(async () => {
  client?.close();
  await store?.remove();
});

const bytes = (text: string) => Buffer.from(text);
const put = (key: string, value = "v") =>
  client.outcome(KV.Put, PutRequest.encode({ key: bytes(key), value: bytes(value) }));
const range = (key: string, rangeEnd = "") =>
  client.outcome(KV.Range, RangeRequest.encode({ key: bytes(key), rangeEnd: bytes(rangeEnd) }));
const txn = (success: readonly Init<RequestOp>[], failure: readonly Init<RequestOp>[] = []) =>
  client.outcome(KV.Txn, TxnRequest.encode({ success: [...success], failure: [...failure] }));
const putOp = (key: string): Init<RequestOp> => ({ kind: "put", request: { key: bytes(key) } });
const rangeOp = (key: string): Init<RequestOp> => ({ kind: "range", request: { key: bytes(key) } });

function isAbove({ code, message }: Outcome, name: string, limit: string): void {
  assert.equal(code, Code.RESOURCE_EXHAUSTED, message);
  assert.match(message, new RegExp(`^etcd-braid: tenant "${name}" is above its limit of .* \\(${limit}\\)`));
}

const scrape = () => Scrape.of(`http://${store.endpoint}/metrics`);

test("puts and deletions: as many as were saved up, also when all come at once; other keys are free", async () => {
  const outcomes = await Promise.all(Array.from({ length: 50 }, (_, i) => put(`/puts/${i}`)));
  assert.equal(outcomes.filter(({ code }) => code === OK.code).length, 10);
  for (const each of outcomes.filter(({ code }) => code !== OK.code)) isAbove(each, "puts", "putsPerSecond");
  const [refused] = outcomes.filter(({ code }) => code !== OK.code);
  assert.match(refused!.message, /limit of 0\.01 puts and deletions a second .*; try again in \d+ ms$/);
  const deletion = DeleteRangeRequest.encode({ key: bytes("/puts/"), rangeEnd: bytes("/puts0") });
  isAbove(await client.outcome(KV.DeleteRange, deletion), "puts", "putsPerSecond");
  assert.deepEqual(await range("/puts/", "/puts0"), OK, "it has no limit on ranges");
  assert.deepEqual(await put("/puts/inner/key"), OK, "the longest prefix applies");
  assert.deepEqual(await put("/puts"), OK);
  const metrics = await scrape();
  assert.equal(metrics.sum("braid_tenant_operations_total", { tenant: "puts", operation: "put" }), 10);
  assert.equal(metrics.sum("braid_tenant_exceeded_total", { tenant: "puts", limit: "putsPerSecond" }), 41);
  assert.equal(metrics.sum("braid_tenant_operations_total", { tenant: "inner", operation: "put" }), 1);
});

test("nothing that is refused is carried out", async () => {
  const { stdout } = await etcdctl(store.endpoint, "get", "--prefix", "/puts/", "--keys-only");
  assert.equal(stdout.match(/^\/puts\//gm)?.length, 11);
});

test("ranges count for the prefix that contains them; equal ones that share a response count each", async () => {
  const outcomes = await Promise.all(Array.from({ length: 25 }, () => range("/ranges/", "/ranges0")));
  assert.equal(outcomes.filter(({ code }) => code === OK.code).length, 10);
  isAbove(await range("/ranges/x"), "ranges", "rangesPerSecond");
  assert.deepEqual(await range("/", "0"), OK, "a range over several tenants counts for none of them");
});

test("each operation of a transaction counts, of the larger branch, and all or nothing", async () => {
  assert.deepEqual(
    await txn([putOp("/txns/a"), putOp("/txns/b")], [rangeOp("/txns/a"), putOp("/txns/b")]),
    OK,
  );
  // 2 puts and 1 range were used.
  isAbove(await txn(Array.from({ length: 9 }, (_, i) => putOp(`/txns/${i}`))), "txns", "putsPerSecond");
  const nested: Init<RequestOp> = { kind: "txn", request: { success: [putOp("/txns/c")] } };
  const seven = Array.from({ length: 7 }, (_, i) => putOp(`/txns/${i}`));
  assert.deepEqual(await txn([...seven, nested]), OK, "exactly the rest: what was refused has used nothing");
  isAbove(await put("/txns/a"), "txns", "putsPerSecond");
  assert.deepEqual(await txn([...Array.from({ length: 9 }, () => rangeOp("/txns/a"))]), OK);
  isAbove(await range("/txns/a"), "txns", "rangesPerSecond");
  const metrics = await scrape();
  const used = (operation: string) =>
    metrics.sum("braid_tenant_operations_total", { tenant: "txns", operation });
  assert.deepEqual([used("put"), used("range"), used("transaction")], [10, 10, 4]);
});

test("a transaction over two tenants is refused if one of them is above a limit, and uses nothing of the other", async () => {
  const both = [putOp("/txns/x"), putOp("/other/x")];
  for (let i = 0; i < 3; i++) isAbove(await txn(both), "txns", "putsPerSecond");
  for (let i = 0; i < 10; i++) assert.deepEqual(await put("/other/x"), OK);
  isAbove(await put("/other/x"), "other", "putsPerSecond");
});

test("bytes: of requests exactly, and of responses until they exceed the limit", async () => {
  const size = PutRequest.encode({ key: bytes("/in/key"), value: Buffer.alloc(200) }).length;
  const passing = Math.floor(1000 / size);
  for (let i = 0; i < passing; i++) assert.deepEqual(await put("/in/key", "v".repeat(200)), OK);
  isAbove(await put("/in/key", "v".repeat(200)), "in", "bytesInPerSecond");
  assert.deepEqual(await put("/in/k"), OK, "a small one still fits");

  assert.deepEqual(await put("/out/key", "v".repeat(700)), OK);
  assert.deepEqual(await range("/out/key"), OK);
  assert.deepEqual(await range("/out/key"), OK, "something is left");
  isAbove(await range("/out/key"), "out", "bytesOutPerSecond");
});

test("the largest value, also in transactions", async () => {
  assert.deepEqual(await put("/values/key", "v".repeat(100)), OK);
  const large = await put("/values/key", "v".repeat(101));
  isAbove(large, "values", "maxValueBytes");
  assert.doesNotMatch(large.message, /try again/);
  const op: Init<RequestOp> = {
    kind: "put",
    request: { key: bytes("/values/key"), value: Buffer.alloc(101) },
  };
  isAbove(await txn([op]), "values", "maxValueBytes");
});

test("open watches: refused above the limit, free again when one ends", async () => {
  const end = bytes("/watches0");
  const request = { key: bytes("/watches/"), rangeEnd: end };
  const open = Array.from({ length: 3 }, () =>
    startEtcdctl(store.endpoint, "watch", "--prefix", "/watches/"),
  );
  const count = async () => (await scrape()).sum("braid_tenant_watches", { tenant: "watches" });
  await until("all are open", async () => (await count()) === 3);
  const refused = await client.watch(request);
  assert.equal(refused.canceled, true);
  assert.match(
    refused.cancelReason,
    /^rpc error: code = ResourceExhausted desc = etcd-braid: tenant "watches" is above its limit of 3 open watches/,
  );
  assert.equal((await client.watch({ key: bytes("/"), rangeEnd: bytes("0") })).canceled, false);
  await open[0]!.stop();
  await until("one has ended", async () => (await count()) === 2);
  assert.equal((await client.watch(request)).canceled, false);
  await Promise.all(open.map((each) => each.stop()));
  await until("all have ended", async () => (await count()) === 0);
});

test("a watch over JSON that is above the limit is held for a second, and opens if it is not above it then", async () => {
  const key = Buffer.from("/held/key").toString("base64");
  const watch = async (start_revision = 0) => {
    const body = JSON.stringify({ create_request: { key, start_revision } });
    const began = performance.now();
    const ending = new AbortController();
    const { signal } = ending;
    const response = await fetch(`http://${store.endpoint}/v3/watch`, { method: "POST", body, signal });
    const { value } = await response.body!.getReader().read();
    const { result } = JSON.parse(Buffer.from(value!).toString()) as { result: Record<string, unknown> };
    return { result, ms: performance.now() - began, end: () => ending.abort() };
  };
  const first = await watch();
  // As APISIX does: the proxy need not ask a shard for anything first.
  const refused = await watch(1);
  assert.deepEqual([first.result.canceled, refused.result.canceled], [undefined, true]);
  assert.match(
    String(refused.result.cancel_reason),
    /^rpc error: code = ResourceExhausted desc = .*1 open watches/,
  );
  // Timers may fire up to a millisecond early.
  assert.ok(
    refused.ms >= 999,
    `refused after ${refused.ms} ms: a client that retries at once would be in a hot loop`,
  );
  const count = async () => (await scrape()).sum("braid_tenant_watches", { tenant: "held" });
  const held = watch();
  first.end();
  assert.equal((await held).result.canceled, undefined);
  assert.equal(await count(), 1);
  (await held).end();
  refused.end();
  await until("all have ended", async () => (await count()) === 0);
});

test("observe: counts and logs, and refuses nothing", async () => {
  for (let i = 0; i < 15; i++) assert.deepEqual(await put("/seen/key"), OK);
  assert.deepEqual(await put("/seen/key", "v".repeat(101)), OK);
  for (let i = 0; i < 2; i++) assert.equal((await client.watch({ key: bytes("/seen/key") })).canceled, false);
  const metrics = await scrape();
  assert.equal(metrics.sum("braid_tenant_operations_total", { tenant: "seen", operation: "put" }), 16);
  const exceeded = (limit: string) => metrics.sum("braid_tenant_exceeded_total", { tenant: "seen", limit });
  assert.equal(exceeded("putsPerSecond"), 5);
  assert.equal(exceeded("maxValueBytes"), 1);
  const lines = store.proxies[0]!.logs().match(/.*"tenant":"seen".*a tenant is above a limit.*/g)!;
  assert.equal(lines.filter((line) => line.includes('"limit":"putsPerSecond","mode":"observe"')).length, 1);
});

test("the JSON gateway", async () => {
  const b64 = (text: string) => Buffer.from(text).toString("base64");
  const post = (path: string, body: object) =>
    fetch(`http://${store.endpoint}${path}`, { method: "POST", body: JSON.stringify(body) });
  for (let i = 0; i < 10; i++)
    assert.equal((await post("/v3/kv/put", { key: b64("/json/key"), value: b64("v") })).status, 200);
  const refused = await post("/v3/kv/put", { key: b64("/json/key"), value: b64("v") });
  assert.equal(refused.status, 429);
  const { code, message } = (await refused.json()) as { code: number; message: string };
  isAbove({ code, message }, "json", "putsPerSecond");
  assert.equal((await post("/v3/kv/range", { key: b64("/json/key") })).status, 200);
});

test("the npm client etcd3", async (t: TestContext) => {
  const etcd3 = new Etcd3({ hosts: store.endpoint, dialTimeout: 5_000 });
  t.after(() => etcd3.close());
  const results = await Promise.allSettled(
    Array.from({ length: 30 }, (_, i) => etcd3.put(`/npm/${i}`).value("v").exec()),
  );
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 10);
  const failed = results.find((result) => result.status === "rejected")!;
  assert.match(String(failed.reason), /tenant "npm" is above its limit/);
});

test("etcdctl prints the limit and the tenant", async () => {
  for (let i = 0; i < 3; i++) assert.equal((await etcdctl(store.endpoint, "put", "/ctl/key", "v")).code, 0);
  const { code, stderr } = await etcdctl(store.endpoint, "put", "/ctl/key", "v");
  assert.notEqual(code, 0);
  assert.match(stderr, /ResourceExhausted.*tenant \\?"ctl\\?" is above its limit of 0.003 puts/);
});

test("locks of the Lock service count as what they do", async () => {
  const b64 = (text: string) => Buffer.from(text).toString("base64");
  const lock = (name: string) =>
    fetch(`http://${store.endpoint}/v3/lock/lock`, {
      method: "POST",
      body: JSON.stringify({ name: b64(name) }),
    });
  for (let i = 0; i < 2; i++) assert.equal((await lock(`/locks/${i}`)).status, 200);
  const third = await lock("/locks/2");
  assert.equal(third.status, 429);
  assert.match(await third.text(), /tenant \\"locks\\" is above its limit of 0.002 transactions a second/);
});

test("SIGHUP changes tenants; one that keeps its name keeps what it has used", async () => {
  const [proxy] = store.proxies;
  for (let i = 0; i < 4; i++) assert.deepEqual(await put("/later/key"), OK);
  const config = JSON.parse(readFileSync(proxy!.configFile, "utf8"));
  config.tenants = [tenant("later", { putsPerSecond: 0.006 }), tenant("new", { putsPerSecond: 0.001 })];
  writeFileSync(proxy!.configFile, JSON.stringify(config));
  const from = proxy!.logs().length;
  process.kill(proxy!.pid, "SIGHUP");
  await until("it was reloaded", () => proxy!.logs().slice(from).includes('"applied":["tenants"]'));
  for (let i = 0; i < 2; i++) assert.deepEqual(await put("/later/key"), OK);
  isAbove(await put("/later/key"), "later", "putsPerSecond");
  assert.deepEqual(await put("/new/key"), OK);
  isAbove(await put("/new/key"), "new", "putsPerSecond");
  assert.deepEqual(await put("/puts/key"), OK, "a tenant that is gone has no limits");
  const metrics = await scrape();
  assert.deepEqual(
    new Set(metrics.of("braid_tenant_watches", {}).map(({ labels }) => labels.tenant)),
    new Set(["later", "new"]),
  );
});
