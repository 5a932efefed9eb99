import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connect } from "../../src/app/store/connect.js";
import type { StatusReport } from "../../src/cli/statusReport.js";
import { createLog } from "../../src/ops/log.js";
import { createRouter } from "../../src/routing/create.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { at, configured, type File, over, revisions } from "../store/configured.js";
import { braid } from "../support/braid.js";
import { type EtcdCluster, type EtcdProcess, startCluster, startEtcds } from "../support/etcd.js";
import type { ProxyProcess } from "../support/store.js";
import { fill, plan, post, serving } from "./planSupport.js";

/** A store over the cluster a and the etcds b and c, whose timeline is on a cluster of its own. */
let cluster: EtcdCluster;
let etcds: EtcdProcess[];
let proxy: ProxyProcess;
let file: File;

const keys = Array.from({ length: 90 }, (_, i) => `/g${i % 30}/k${i}`);

before(async () => {
  [cluster, etcds] = await Promise.all([startCluster(3), startEtcds(3)]);
  const [b, c, host] = etcds;
  file = {
    shards: [
      { name: "a", endpoints: [...cluster.endpoints] },
      { name: "b", endpoints: at(b), weight: 2 },
      { name: "c", endpoints: at(c) },
    ],
    timeline: { endpoints: at(host) },
    routing: { rules: [{ prefix: "/pinned/", shard: "c" }] },
  };
  proxy = await serving(file);
  await fill(proxy, keys);
});

after(async () => {
  await proxy?.kill();
  await Promise.all([cluster, ...(etcds ?? [])].map((each) => each?.remove()));
});

async function status(of: File, ...args: string[]) {
  const { path } = await configured(of);
  return braid("status", "--config", path, ...args);
}

async function reported(code: number, of: File, ...args: string[]): Promise<StatusReport> {
  const result = await status(of, "--json", ...args);
  assert.equal(result.code, code, result.stdout + result.stderr);
  return JSON.parse(result.stdout);
}

test("the map in force, the timeline, and the keys and members of every shard", async () => {
  const all = [...cluster.members, ...etcds];
  const before = await revisions(all);
  const report = await reported(0, file, "--groups");
  const { code, stdout, stderr } = await status(file);
  assert.deepEqual([code, stderr], [0, ""], stdout);
  assert.deepEqual(await revisions(all), before, "nothing is written");

  const { map } = (await configured(file)).config;
  const router = await createRouter(map);
  const shardsOf = (list: readonly string[]) =>
    list.map((key) => map.shards[router.shardOf(Buffer.from(key))].name);
  const count = (list: readonly string[], name: string) => list.filter((each) => each === name).length;
  const groups = [...new Set(keys.map((key) => key.split("/", 2).join("/")))];
  assert.deepEqual(
    report.clusters.map(({ name, weight, keys, groups, generation, error }) => [
      name,
      weight,
      keys,
      groups,
      generation,
      error,
    ]),
    [
      ...(["a", "b", "c"] as const).map((name, i) => [
        name,
        [1, 2, 1][i],
        count(shardsOf(keys), name),
        count(shardsOf(groups), name),
        0,
        null,
      ]),
      ["timeline host", null, null, null, 0, null],
    ],
  );
  assert.equal(report.revision, 31);
  assert.equal(report.compactRevision, 0);
  assert.match(report.store!, /^[0-9a-f]{16}$/);
  assert.deepEqual(report.timeline.shard, null);
  assert.ok(report.timeline.entries! > 0 && report.timeline.entries! <= 30);
  assert.deepEqual([report.plan, report.isFileInForce], [null, true]);
  assert.ok(
    report.rules!.some(({ prefix, shard }) => prefix === "/pinned/" && shard === "c"),
    "the rules are shown",
  );
  const [a, b] = report.clusters;
  assert.deepEqual(a.endpoints.map(({ state }) => state).sort(), ["follower", "follower", "leader"]);
  assert.ok(b.size! > 0);
  assert.match(b.endpoints[0].version!, /^3\.\d+\.\d+/);

  assert.match(stdout, /^Revision: +31, compacted at 0$/m);
  assert.match(stdout, /^Timeline host: +a cluster that is not a shard, \d+ entries in the log$/m);
  assert.match(stdout, /^Plan: +none$/m);
  assert.match(
    stdout,
    new RegExp(
      `^a +1 +ok +3/3 +3\\.[\\d.]+ +${a.keys} +[\\d.]+ [KM]iB .* 0 +${cluster.endpoints.join(", ")}$`,
      "m",
    ),
  );
  assert.match(stdout, /^"\/pinned\/" +pinned +c$/m);
  assert.doesNotMatch(stdout, /GROUPS/);
});

test("a compaction and a member that is down are shown; they are no failure", async () => {
  await post(proxy, "kv/compaction", { revision: "20" });
  const [member] = cluster.members;
  await member.kill();
  try {
    const report = await reported(0, file);
    assert.equal(report.compactRevision, 20);
    const states = report.clusters[0].endpoints.map(({ endpoint, state }) => [endpoint, state]);
    assert.deepEqual(states[0], [member.endpoint, "unreachable"]);
    assert.match((await status(file)).stdout, /^a +1 +ok +2\/3 /m);
  } finally {
    await member.restart();
  }
});

test("a shard that is down: exit code 1, and the rest is shown", async () => {
  await etcds[0].kill();
  try {
    const { code, stdout } = await status(file);
    assert.equal(code, 1);
    assert.match(stdout, /^b +2 +failed +0\/1 +- +- +- +- +- /m);
    assert.match(stdout, /^c +1 +ok +1\/1 /m);
    assert.match(stdout, /^Revision: +31, /m);
    assert.match(stdout, /^Problems:\n {2}b: no endpoint reachable \([\d.:]+: .*refused\)$/m);
    const { clusters } = await reported(1, file);
    assert.deepEqual(
      clusters.map(({ error }) => error === null),
      [true, false, true, true],
    );
    assert.match(clusters[1].clusterId!, /^\d+$/);
  } finally {
    await etcds[0].restart();
  }
});

test("the timeline host is down: exit code 1, and the shards are shown", async () => {
  await etcds[2].kill();
  try {
    const { code, stdout } = await status(file);
    assert.equal(code, 1);
    assert.match(stdout, /^Revision: +unknown, compacted at unknown$/m);
    assert.match(stdout, /^Plan: +unknown$/m);
    assert.match(stdout, /^c +1 +ok +1\/1 /m);
    assert.match(stdout, /^timeline host +- +failed +0\/1 /m);
    const report = await reported(1, file);
    assert.deepEqual([report.revision, report.rules, report.isFileInForce], [null, null, null]);
  } finally {
    await etcds[2].restart();
  }
});

test("with a file that differs, the map of the store is shown", async () => {
  const fewer = { ...file, shards: file.shards.slice(0, 2), routing: {} };
  const { code, stdout } = await status(fewer);
  assert.equal(code, 0, "the store knows where the shard is");
  assert.match(stdout, /^c +1 +ok +1\/1 /m);
  assert.match(stdout, /differs from the store, which is shown above\. `braid plan` compares them\.\n$/);
  const heavier = { ...file, shards: file.shards.map((each) => ({ ...each, weight: 1 })) };
  const report = await reported(0, heavier);
  assert.deepEqual([report.clusters[1].weight, report.isFileInForce], [2, false]);
});

test("clusters without a store: exit code 1", async () => {
  const [etcd] = await startEtcds(1);
  try {
    const { code, stderr } = await status(over("a", [etcd]));
    assert.equal(code, 1);
    assert.match(stderr, /there is no store on these clusters/);
  } finally {
    await etcd.remove();
  }
});

test("an active plan is shown with the shard that it adds, whose addresses the store has", async () => {
  const [added] = await startEtcds(1);
  const { config } = await configured(file);
  const { timeline, disconnect } = await connect(config, createLog("silent"));
  try {
    await proxy.kill();
    const larger = { ...config.map, shards: [...config.map.shards, { name: "d", weight: 1 }] };
    await timeline.open();
    await timeline.proposeChange({
      kind: "plan",
      after: 0,
      map: (await fingerprint(larger)).text,
      shards: [{ index: 3, name: "d", endpoints: at(added), clusterId: await clusterIdOf(added), cut: 1 }],
    });
    const { code, stdout } = await status(file);
    assert.equal(code, 0, stdout);
    assert.match(
      stdout,
      /^Plan: +number 1, at "\\x01"\n {2}waiting for a proxy to take the plan; is one running/m,
    );
    assert.match(stdout, new RegExp(`^d +- +ok +1/1 .* ${added.endpoint}$`, "m"));
    const report = await reported(0, file);
    const { plan: number, direction, cursor, frozen, state, proxy: by } = report.plan!;
    assert.deepEqual(
      [number, direction, cursor, frozen, state, by],
      [1, "up", "\\x01", false, "unattended", null],
    );
    assert.deepEqual(report.removed, []);
    const refused = await plan(file);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /plan 1 is already active\. `braid apply --watch` shows it/);
  } finally {
    disconnect();
    await added.remove();
  }
});

async function clusterIdOf(etcd: EtcdProcess): Promise<string> {
  const answer = await fetch(`${etcd.url}/v3/kv/range`, { method: "POST", body: '{"key":"AA=="}' });
  return ((await answer.json()) as { header: { cluster_id: string } }).header.cluster_id;
}
