import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Client, credentials } from "@grpc/grpc-js";
import { freePort } from "../../src/dev/ports.js";
import { packageRoot } from "../../src/ops/package.js";
import { etcdctl, startEtcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { dashboardQueries } from "./dashboard.js";
import { Scrape } from "./scrape.js";

/** Only with several workers; test/workers covers them. */
const WORKERS = /^braid_worker/;

describe("metrics", () => {
  let store: TestStore;
  let address: string;
  const scrape = () => Scrape.of(`http://${address}/metrics`);

  before(async () => {
    address = `127.0.0.1:${await freePort()}`;
    store = await startStore({
      shards: 2,
      config: { metrics: { listen: address }, limits: { connectTimeoutMs: 300 } },
    });
  });
  after(() => store.remove());

  test("calls of clients and calls to shards are counted by method and code, and measured", async () => {
    const before = await scrape();
    for (let i = 0; i < 5; i++) await etcdctl(store.endpoint, "put", `/metrics/${i}`, "v");
    await etcdctl(store.endpoint, "get", "--prefix", "/metrics/");
    const refused = await etcdctl(store.endpoint, "get", "/x", "--rev", "100000");
    assert.notEqual(refused.code, 0);
    const now = await scrape();
    const grew = (name: string, labels: Record<string, string>) =>
      now.sum(name, labels) - before.sum(name, labels);
    assert.equal(grew("braid_requests_total", { method: "KV.Put", code: "OK" }), 5);
    assert.equal(grew("braid_requests_total", { method: "KV.Range", code: "OK" }), 1);
    assert.equal(grew("braid_requests_total", { method: "KV.Range", code: "OutOfRange" }), 1);
    assert.equal(grew("braid_request_duration_seconds_count", { method: "KV.Put" }), 5);
    assert.ok(grew("braid_request_duration_seconds_sum", { method: "KV.Put" }) > 0);
    // The puts, as transactions that compare gen, and their entries in the timeline's log.
    assert.equal(grew("braid_shard_requests_total", { method: "KV.Txn", code: "OK" }), 10);
    assert.equal(now.sum("braid_requests_in_flight", { method: "KV.Put" }), 0);
    // Sequential puts, so that a separate entry seals each.
    assert.equal(grew("braid_timeline_seal_duration_seconds_count", {}), 5);
    assert.equal(grew("braid_timeline_appends_total", { result: "taken" }), 5);
    assert.equal(grew("braid_timeline_revision", {}), 5);
    assert.equal(
      grew("grpc_server_handled_total", { grpc_method: "Put", grpc_code: "OK", grpc_type: "unary" }),
      5,
    );
  });

  test("histograms are cumulative and end with the count", async () => {
    const now = await scrape();
    const buckets = now.of("braid_request_duration_seconds_bucket", { method: "KV.Put" });
    const counts = buckets.map(({ value }) => value);
    assert.deepEqual(
      counts,
      [...counts].sort((a, b) => a - b),
    );
    assert.equal(buckets.at(-1)?.labels.le, "+Inf");
    assert.equal(counts.at(-1), now.sum("braid_request_duration_seconds_count", { method: "KV.Put" }));
  });

  test("watchers, their streams and events are counted", async () => {
    const watch = startEtcdctl(store.endpoint, "watch", "--prefix", "/watched/");
    await until("it watches", async () => (await scrape()).sum("braid_watchers", { state: "synced" }) === 1);
    const sent = (await scrape()).sum("braid_watch_events_sent_total", {});
    await etcdctl(store.endpoint, "put", "/watched/a", "1");
    await etcdctl(store.endpoint, "put", "/unwatched/b", "1");
    await until(
      "one event is sent",
      async () => (await scrape()).sum("braid_watch_events_sent_total", {}) === sent + 1,
    );
    const now = await scrape();
    assert.equal(now.sum("braid_watch_streams", {}), 1);
    assert.ok(now.sum("braid_watch_events_received_total", {}) >= 2);
    await watch.stop();
    await until("the stream is gone", async () => (await scrape()).sum("braid_watch_streams", {}) === 0);
    const after = await scrape();
    assert.equal(after.sum("braid_requests_in_flight", { method: "Watch.Watch" }), 0);
    assert.equal(after.sum("braid_requests_total", { method: "Watch.Watch", code: "Canceled" }), 1);
  });

  test("leases are counted", async () => {
    const granted = await etcdctl(store.endpoint, "lease", "grant", "100");
    const id = /lease (\w+) granted/.exec(granted.stdout)![1]!;
    for (let i = 0; i < 8; i++) await etcdctl(store.endpoint, "put", `leased${i}`, "v", "--lease", id);
    await etcdctl(store.endpoint, "lease", "keep-alive", "--once", id);
    const now = await scrape();
    assert.equal(now.sum("braid_leases_granted_total", {}), 1);
    assert.equal(now.sum("braid_lease_parts_granted_total", {}), 1);
    assert.equal(now.sum("braid_leases_placed", {}), 1);
    assert.equal(now.sum("braid_lease_renewals_total", {}), 1);
    await etcdctl(store.endpoint, "lease", "revoke", id);
    assert.equal((await scrape()).sum("braid_leases_ended_total", {}), 1);
  });

  test("a lost shard shows in its endpoint's state, and failed calls are counted by code", async () => {
    const ready = { shard: "shard1", state: "ready" };
    assert.equal((await scrape()).sum("braid_shard_endpoint_state", ready), 1);
    await store.shards[1]!.stop();
    await until("it is down", async () => (await scrape()).sum("braid_shard_endpoint_state", ready) === 0);
    await etcdctl(store.endpoint, "get", "", "--prefix", "--command-timeout", "2s");
    const now = await scrape();
    assert.ok(now.sum("braid_shard_connection_failures_total", { shard: "shard1" }) > 0);
    assert.ok(now.sum("braid_requests_total", { method: "KV.Range", code: "Unavailable" }) > 0);
    assert.equal(now.sum("etcd_server_has_leader", {}), 1, "the host, shard0, is there");
    await store.shards[1]!.restart();
    await until("it is back", async () => (await scrape()).sum("braid_shard_endpoint_state", ready) === 1);
  });

  test("every metric has help and type, labels come from fixed sets, and clients cannot add series", async () => {
    const before = await scrape();
    for (const path of ["/etcdserverpb.KV/Nonsense1", "/a.B/C"]) await unknownMethod(store.endpoint, path);
    const now = await scrape();
    assert.equal(
      now.sum("braid_requests_total", { method: "unknown" }) -
        before.sum("braid_requests_total", { method: "unknown" }),
      // With grpc-js, the library answers them.
      process.env.BRAID_TEST_TRANSPORT === "grpc-js" ? 0 : 2,
    );
    const methods = new Set(now.of("braid_requests_total", {}).map(({ labels }) => labels.method));
    assert.ok(![...methods].some((method) => /Nonsense|B\.C/.test(method!)), [...methods].join());
    for (const { name } of now.series) {
      const family = name.replace(/_(bucket|sum|count)$/, "");
      assert.ok(now.types.has(name) || now.types.has(family), `${name} has a type`);
      assert.ok(now.help.has(name) || now.help.has(family), `${name} has help`);
    }
    assert.ok(now.series.length < 2_000, `${now.series.length} series`);
    assert.ok(now.sum("process_cpu_seconds_total", {}) > 0);
    assert.ok(now.of("nodejs_eventloop_lag_p99_seconds", {}).length === 1);
  });

  test("metrics and probes are on the listen port too; the metrics port serves no requests", async () => {
    const here = await Scrape.of(`http://${store.endpoint}/metrics`);
    assert.ok(here.sum("braid_requests_total", { method: "KV.Put", code: "OK" }) > 0);
    assert.equal((await fetch(`http://${address}/metrics`, { method: "POST" })).status, 405);
    assert.equal((await fetch(`http://${address}/livez`)).status, 200);
    const { health } = (await (await fetch(`http://${address}/health`)).json()) as { health: string };
    assert.equal(health, "true");
    assert.equal((await fetch(`http://${address}/v3/kv/range`, { method: "POST", body: "{}" })).status, 404);
  });

  test("the dashboard queries only existing metrics, and shows all of the proxy's", async () => {
    const now = await scrape();
    const queries = dashboardQueries();
    assert.ok(queries.length > 50);
    for (const { panel, metric, labels } of queries) {
      if (WORKERS.test(metric)) continue;
      const series = now.series.find(({ name }) => name === metric);
      // There may have been no garbage collection yet.
      const family = metric.replace(/_(bucket|sum|count)$/, "");
      assert.ok(series !== undefined || now.types.has(family), `"${panel}" asks for ${metric}`);
      for (const label of labels) {
        assert.ok(series === undefined || label in series.labels, `"${panel}": ${metric} has no ${label}`);
      }
    }
    const shown = new Set(queries.map(({ metric }) => metric.replace(/_(bucket|sum|count)$/, "")));
    const hidden = [...now.types.keys()].filter((name) => name.startsWith("braid_") && !shown.has(name));
    assert.deepEqual(hidden, []);
  });

  test("docs/metrics.md explains exactly the existing metrics", async () => {
    const page = readFileSync(join(packageRoot, "docs/metrics.md"), "utf8");
    const sections = page.slice(page.indexOf("\n## Metrics\n"), page.indexOf("\n## Logs\n"));
    const tables = sections.split("\n").filter((line) => line.startsWith("| `"));
    const cells = tables.map((line) => line.split(" | ", 1)[0]!);
    const explained = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name!));
    const exported = [...(await scrape()).types.keys(), "braid_workers", "braid_worker_restarts_total"];
    assert.deepEqual(explained.sort(), exported.sort());
    const known = new Set(exported);
    const mentioned = [...page.matchAll(/\b(?:braid|process|nodejs|grpc)_\w+/g)].map(([name]) => name);
    assert.deepEqual(
      mentioned.filter((name) => !known.has(name)),
      [],
    );
  });

  test("connections are counted by protocol", async () => {
    const now = await scrape();
    assert.ok(now.sum("braid_connections_accepted_total", { protocol: "http2" }) > 0);
    assert.ok(now.sum("braid_connections", { protocol: "http1" }) > 0, "that of fetch above");
    assert.equal(now.of("braid_connections_refused_total", { reason: "silent" }).length, 1);
  });

  test("calls through the JSON gateway are counted as any other", async () => {
    const before = (await scrape()).sum("braid_requests_total", { method: "KV.Range", code: "OK" });
    const body = JSON.stringify({ key: Buffer.from("k").toString("base64") });
    await fetch(`http://${store.endpoint}/v3/kv/range`, { method: "POST", body });
    const after = (await scrape()).sum("braid_requests_total", { method: "KV.Range", code: "OK" });
    assert.equal(after - before, 1);
  });
});

async function unknownMethod(endpoint: string, path: string): Promise<void> {
  const client = new Client(endpoint, credentials.createInsecure());
  const identity = (bytes: Buffer) => bytes;
  await new Promise<void>((resolve) => {
    client.makeUnaryRequest(path, identity, identity, Buffer.alloc(0), (error) => {
      assert.equal(error?.code, 12);
      resolve();
    });
  });
  client.close();
}
