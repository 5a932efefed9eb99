import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { Client, credentials } from "@grpc/grpc-js";
import { WatchRequest } from "../../src/wire/messages.js";
import { Watch } from "../../src/wire/paths.js";
import { etcdctl, startEtcdctl } from "../support/etcdctl.js";
import { type ProxyProcess, startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { Scrape } from "./scrape.js";

const SLOW_MS = 400;

describe("a running proxy", () => {
  let store: TestStore;
  let proxy: ProxyProcess;

  before(async () => {
    const config = {
      log: { level: "info", slowRequestMs: SLOW_MS },
      limits: { connectTimeoutMs: 300, requestTimeoutMs: 5_000 },
      routing: { default: { segments: 1 }, rules: [{ prefix: "/one/", shard: "shard1" }] },
      shutdown: { graceMs: 4_000 },
    };
    store = await startStore({ shards: 2, proxies: 2, config });
    proxy = store.proxies[0]!;
  });
  after(() => store.remove());

  const lines = (from = 0) =>
    proxy
      .logs()
      .slice(from)
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const post = (path: string, body: object, headers: Record<string, string> = {}) =>
    fetch(`http://${proxy.endpoint}${path}`, { method: "POST", body: JSON.stringify(body), headers });

  test("a slow request is logged with its id and the shard that it waited for", async () => {
    // The gateway loads its messages at the first call, which must not count.
    assert.equal((await post("/v3/kv/range", { key: base64("/one/key") })).status, 200);
    await store.shards[1]!.kill("SIGSTOP");
    const body = { key: base64("/one/key"), value: base64("s3cret-value") };
    const headers = { "x-request-id": "order-66", authorization: "t0ken" };
    const put = post("/v3/kv/put", body, headers);
    setTimeout(() => store.shards[1]!.kill("SIGCONT"), SLOW_MS + 100);
    assert.equal((await put).status, 200);
    await until("it is logged", () => lines().some(({ msg }) => msg === "slow request"));
    const line = lines().find(({ msg }) => msg === "slow request")!;
    assert.equal(line.request, "order-66");
    assert.equal(line.method, "/etcdserverpb.KV/Put");
    assert.equal(line.shard, "shard1");
    assert.equal(line.endpoint, store.shards[1]!.endpoint);
    assert.ok((line.shardMs as number) >= SLOW_MS && (line.ms as number) >= (line.shardMs as number));
    assert.doesNotMatch(proxy.logs(), /s3cret-value|t0ken/);
  });

  test("failures of the store are logged, but only part of a flood; client errors are not", async () => {
    const from = proxy.logs().length;
    await post("/v3/kv/range", { key: base64("/one/key"), revision: "999999" });
    await store.shards[1]!.stop();
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const failed = await post("/v3/kv/range", { key: base64("/one/key") }, { traceparent });
    assert.equal(failed.status, 503);
    await Promise.all(Array.from({ length: 40 }, () => post("/v3/kv/range", { key: base64("/one/key") })));
    await store.shards[1]!.restart();
    const failures = lines(from).filter(({ msg }) => msg === "request failed");
    assert.equal(failures[0]!.request, "0af7651916cd43dd8448eb211c80319c");
    assert.equal(failures[0]!.code, "Unavailable");
    assert.match(failures[0]!.error as string, /shard "shard1"/);
    assert.equal(failures.length, 10);
    assert.equal(new Set(failures.map(({ request }) => request)).size, 10, "each has an id of its own");
  });

  test("SIGHUP applies live settings and names those that need a restart; an invalid file changes nothing", async () => {
    const change = (to: (config: Record<string, unknown>) => void) => {
      const config = JSON.parse(readFileSync(proxy.configFile, "utf8"));
      to(config);
      writeFileSync(proxy.configFile, JSON.stringify(config));
      const from = proxy.logs().length;
      process.kill(proxy.pid, "SIGHUP");
      return async (text: RegExp) => {
        await until(`${text}`, () => lines(from).some(({ msg }) => text.test(msg as string)));
        return lines(from).find(({ msg }) => text.test(msg as string))!;
      };
    };
    const before = readFileSync(proxy.configFile, "utf8");
    const three = {
      compare: [],
      success: ["/one/a", "/one/b", "/one/c"].map((key) => ({
        requestPut: { key: base64(key), value: base64("v") },
      })),
    };
    assert.equal((await post("/v3/kv/txn", three)).status, 200);

    const reloaded = await change((config) => {
      config.limits = { ...(config.limits as object), maxTxnOps: 2 };
      config.watch = { historyBytes: 1_000 };
      config.reads = "relaxed";
    })(/reloaded; some/);
    assert.deepEqual(reloaded.applied, ["limits.maxTxnOps", "reads"]);
    assert.deepEqual(reloaded.needsRestart, ["watch.historyBytes"]);
    const refused = await post("/v3/kv/txn", three);
    assert.match(((await refused.json()) as { error: string }).error, /too many operations/);

    const invalid = await change((config) => {
      config.limits = { maxTxnOps: "many" };
      config.log = { level: "silent" };
    })(/not reloaded/);
    assert.match(invalid.error as string, /limits\.maxTxnOps: must be a number/);

    writeFileSync(proxy.configFile, before);
    const back = await change(() => {})(/reloaded/);
    assert.deepEqual(back.applied, ["limits.maxTxnOps", "reads"]);
    assert.equal((await post("/v3/kv/txn", three)).status, 200);
  });

  test("SIGTERM: requests in progress are answered, watches move without a gap, new clients are refused", async () => {
    const both = store.proxies.map(({ endpoint }) => endpoint).join();
    const watches = Array.from({ length: 3 }, () => startEtcdctl(both, "watch", "--prefix", "/one/drain/"));
    const streamsOf = async ({ endpoint }: ProxyProcess) =>
      (await Scrape.of(`http://${endpoint}/metrics`)).sum("braid_watch_streams", {});
    const streams = () => Promise.all(store.proxies.map(streamsOf));
    await until("all watch", async () => (await streams()).reduce((a, b) => a + b) === 3);
    // clientv3 may use either endpoint. The one to stop is one that it uses.
    const [a, b] = store.proxies as [ProxyProcess, ProxyProcess];
    const [first, second] = (await streamsOf(a)) > 0 ? [a, b] : [b, a];
    const ended = statusOfWatch(first.endpoint);
    await until("that one too", async () => (await streams()).reduce((a, b) => a + b) === 4);
    for (let i = 0; i < 10; i++) await etcdctl(second.endpoint, "put", "/one/drain/k", `${i}`);
    for (const watch of watches) await watch.says(/\n9\n/);

    await store.shards[1]!.kill("SIGSTOP");
    const put = etcdctl(first.endpoint, "put", "/one/drain/k", "10");
    await until("the put is under way", async () => {
      const page = await Scrape.of(`http://${first.endpoint}/metrics`);
      return page.sum("braid_requests_in_flight", { method: "KV.Put" }) === 1;
    });
    const began = performance.now();
    const stopped = first.stop();
    assert.deepEqual(await ended, { code: 14, details: "etcdserver: server stopped" });
    await assert.rejects(dial(first.port), /ECONNREFUSED/);
    await store.shards[1]!.kill("SIGCONT");
    assert.equal((await put).code, 0, "the put that was under way has been answered");
    assert.equal(await stopped, 0);
    assert.ok(performance.now() - began < 4_000, "within the grace");

    for (let i = 11; i < 20; i++) await etcdctl(second.endpoint, "put", "/one/drain/k", `${i}`);
    for (const watch of watches) {
      await watch.says(/\n19\n/);
      const seen = [...watch.output.matchAll(/^\d+$/gm)].map(([value]) => Number(value));
      assert.deepEqual(
        seen,
        Array.from({ length: 20 }, (_, i) => i),
      );
      await watch.stop();
    }
    await first.start();
  });

  test("the grace period ends unfinished requests; a second signal ends it at once", async () => {
    await store.shards[1]!.kill("SIGSTOP");
    const hang = () => post("/v3/kv/range", { key: base64("/one/key") }).catch((error: Error) => error);
    const slow = hang();
    await until("it is under way", async () => {
      const page = await Scrape.of(`http://${proxy.endpoint}/metrics`);
      return page.sum("braid_requests_in_flight", { method: "KV.Range" }) === 1;
    });
    const stopped = proxy.stop();
    await until("it stops", () => lines().at(-1)!.msg === "stopping");
    const began = performance.now();
    // Signals closer together than half a second count as one.
    const again = setInterval(() => process.kill(proxy.pid, "SIGTERM"), 100);
    assert.equal(await stopped, 1);
    clearInterval(again);
    assert.ok(performance.now() - began < 2_000);
    assert.ok((await slow) instanceof Error);
    await store.shards[1]!.kill("SIGCONT");
  });
});

async function dial(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
  } finally {
    socket.destroy();
  }
}

/** Resolves to the way in which a watch of all keys ends. */
function statusOfWatch(endpoint: string): Promise<{ code: number; details: string }> {
  const client = new Client(endpoint, credentials.createInsecure());
  const identity = (bytes: Buffer) => bytes;
  const stream = client.makeBidiStreamRequest(Watch.Watch, identity, identity);
  stream.on("data", () => {}).on("error", () => {});
  const request = { kind: "create" as const, request: { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) } };
  stream.write(Buffer.from(WatchRequest.encode(request)));
  return new Promise((resolve) => {
    stream.on("status", ({ code, details }) => {
      client.close();
      resolve({ code, details });
    });
  });
}
