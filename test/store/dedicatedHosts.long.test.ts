import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { readCluster } from "../../src/app/store/marks.js";
import type { StatusReport } from "../../src/cli/statusReport.js";
import { ADMIN_LOCK } from "../../src/lease/reserved.js";
import type { ShardClient } from "../../src/shard/client.js";
import { AuthUserAddRequest, LeaseGrantRequest, LeaseRevokeRequest } from "../../src/wire/messages.js";
import { Auth, Lease } from "../../src/wire/paths.js";
import { ok } from "../auth/support.js";
import { Scrape } from "../ops/scrape.js";
import { shardOf } from "../shard/support.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { startStore, storeConfig, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { stopAndCompare, Watcher, Writer } from "./hostLoad.js";

/*
 * The timeline moves from one cluster of its own to another.
 */

let store: TestStore;
let hosts: readonly EtcdProcess[] = [];
let files = 0;

before(async () => {
  hosts = await Promise.all([startEtcd(), startEtcd()]);
  const timeline = { endpoints: [hosts[0]!.endpoint] };
  store = await startStore({
    shards: 2,
    proxies: 2,
    config: (proxy) => ({ timeline, workers: 1 + proxy }),
  });
});

after(async () => {
  await store?.remove();
  await Promise.all(hosts.map((host) => host.remove()));
});

function fileWith(host: number): string {
  const path = join(temporaryFolder(), `host-${files++}.yaml`);
  writeFileSync(path, storeConfig(store.shards, 1, { timeline: { endpoints: [hosts[host]!.endpoint] } }));
  return path;
}

/** The host's place in `hosts`. */
let at = 0;

/** Moves the timeline to the other host. */
async function move(): Promise<void> {
  const [from, to] = [at, 1 - at];
  const args = ["--config", fileWith(to), "--current", fileWith(from), "--yes"];
  assert.match(await ok(braid("apply", ...args)), /The timeline is on a cluster of its own now/);
  at = to;
}

/** Takes the lock for changes of users and roles, as a proxy does. */
const takeLock = (host: ShardClient) =>
  host.call(Lease.LeaseGrant, LeaseGrantRequest.encode({ id: ADMIN_LOCK, ttl: 60 }), { idempotent: false });
const freeLock = (host: ShardClient) =>
  host.call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: ADMIN_LOCK }), { idempotent: false });

/** How often an etcd has refused to grant a lease, such as the lock when it is taken. */
async function refusedGrants({ url }: EtcdProcess): Promise<number> {
  const labels = { grpc_method: "LeaseGrant", grpc_code: "FailedPrecondition" };
  return (await Scrape.of(`${url}/metrics`)).sum("grpc_server_handled_total", labels);
}

test("a proxy that lags over a move takes the lock for users and roles on the next host", async () => {
  const [old, next] = [hosts[at]!, hosts[1 - at]!];
  const [lagging] = store.proxies;
  const clients = [old, next, lagging!].map(({ endpoint }) => shardOf([endpoint]));
  const [atOld, atNext, client] = clients as [ShardClient, ShardClient, ShardClient];
  try {
    await takeLock(atOld);
    let isAdded = false;
    const request = AuthUserAddRequest.encode({ name: "app", password: "app" });
    const added = client.call(Auth.UserAdd, request, { idempotent: false }).then(() => {
      isAdded = true;
    });
    added.catch(() => {});
    await until("it waits for the lock", async () => (await refusedGrants(old)) > 0);
    await lagging!.kill("SIGSTOP");
    await freeLock(atOld);
    await move();
    // Another proxy changes users and roles now.
    await takeLock(atNext);
    await lagging!.kill("SIGCONT");
    await until("it goes on", async () => isAdded || (await refusedGrants(next)) > 0);
    assert.ok(!isAdded, "only one proxy at a time changes users and roles");
    await freeLock(atNext);
    await added;
  } finally {
    await lagging!.kill("SIGCONT");
    for (const each of clients) each.close();
  }
});

test("under load the timeline moves to another cluster of its own, and then the old one is not needed", async () => {
  const [old, next] = [hosts[at]!, hosts[1 - at]!];
  // Those at the proxy with two workers are spread over both.
  const names = ["v", "w", "x", "y"];
  const writers = store.proxies.flatMap((proxy, i) => names.map((name) => new Writer(proxy, `${name}${i}`)));
  const watchers = store.proxies.flatMap((proxy) => [new Watcher(proxy), new Watcher(proxy)]);
  const newest = () => Math.max(0, ...writers.map(({ newest }) => newest));
  const more = async () => {
    const enough = newest() + 200;
    await until("there are more writes", () => newest() >= enough);
  };
  await more();
  await move();
  await old.kill();
  const written = newest();
  for (const { endpoint } of store.proxies) {
    const health = await fetch(`http://${endpoint}/health`);
    assert.equal(health.status, 200, await health.text());
    const page = await Scrape.of(`http://${endpoint}/metrics`);
    assert.equal(page.sum("etcd_server_has_leader", {}), 1);
    assert.ok(page.sum("braid_timeline_revision", {}) >= written, "the metrics show the newest revision");
  }
  const { code, stdout, stderr } = await braid("status", "--json", "--config", fileWith(at));
  assert.equal(code, 0, stderr);
  const status: StatusReport = JSON.parse(stdout);
  assert.ok(status.revision! >= written);
  const client = shardOf([next.endpoint]);
  const { clusterId } = await readCluster(client);
  client.close();
  assert.deepEqual([status.timeline.shard, status.timeline.clusterId], [null, clusterId]);
  assert.deepEqual(
    status.clusters.map(({ error }) => error),
    [null, null, null],
  );
  await more();
  await stopAndCompare(writers, watchers);
});
