import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startProxyProcess, startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { ask } from "./support.js";

let store: TestStore;

before(async () => {
  store = await startStore({ config: { limits: { connectTimeoutMs: 200 } } });
});
after(() => store.remove());

async function get(path: string): Promise<[status: number, text: string]> {
  const { status, text } = await ask(store.endpoint, { method: "GET", path });
  return [status, text];
}

test("while a shard is down, /health names it, and /readyz stays up", async () => {
  const versions = await get("/version");
  assert.match(
    versions[1],
    /^\{"etcdserver":"3\.\d+\.\d+","etcdcluster":"3\.\d+\.0"(,"storage":"3\.\d+\.0")?\}$/,
  );
  assert.deepEqual(await get("/health"), [200, '{"health":"true","reason":""}']);
  await store.shards[2].kill();
  await until("the outage shows", async () => (await get("/health"))[0] === 503);
  const { health, reason } = JSON.parse((await get("/health"))[1]);
  assert.equal(health, "false");
  assert.match(reason, /^RANGE ERROR:shard "shard2": /);
  assert.deepEqual(await get("/health?serializable=true"), [200, '{"health":"true","reason":""}']);
  assert.deepEqual(await get("/readyz"), [200, "ok\n"]);
  assert.deepEqual(await get("/version"), versions);
});

test("a proxy that starts while a shard hangs reports the others' version before that shard times out", async () => {
  const hanging = store.shards[1];
  await hanging.kill("SIGSTOP");
  // With the default timeouts, the shard times out after 2 s at the earliest.
  const proxy = await startProxyProcess(store.shards);
  try {
    const order: string[] = [];
    const key = Buffer.from("x").toString("base64");
    const all = JSON.stringify({ key, range_end: Buffer.of(0).toString("base64") });
    const needsAll = ask(proxy.endpoint, { method: "POST", path: "/v3/kv/range", body: all });
    const failed = needsAll.then(({ status }) => {
      assert.notEqual(status, 200);
      order.push("given up");
    });
    const { status } = await ask(proxy.endpoint, { method: "GET", path: "/version" });
    order.push("version");
    assert.equal(status, 200);
    await failed;
    assert.deepEqual(order, ["version", "given up"]);
  } finally {
    await proxy.kill();
    await hanging.kill("SIGCONT");
  }
});

test("while the timeline cannot be read, the proxy is alive but not ready", async () => {
  await store.shards[0].kill();
  await until("the outage shows", async () => (await get("/readyz"))[0] === 503);
  const [, text] = await get("/readyz");
  assert.match(text, /^\[-\]linearizable_read failed: .*shard "shard0": /m);
  assert.deepEqual(await get("/livez"), [200, "ok\n"]);
  await Promise.all([store.shards[0], store.shards[2]].map((shard) => shard.restart()));
  await until("all is well", async () => (await get("/health"))[0] === 200);
  assert.deepEqual(await get("/readyz"), [200, "ok\n"]);
});
