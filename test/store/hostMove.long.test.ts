import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { moveHost } from "../../src/app/reshard/moveHost.js";
import { PlanStore } from "../../src/app/reshard/planStore.js";
import { readCluster } from "../../src/app/store/marks.js";
import { openSurvey } from "../../src/app/store/survey.js";
import { loadConfig } from "../../src/config/load.js";
import { createLog } from "../../src/ops/log.js";
import { Code, type StatusError } from "../../src/status/error.js";
import { decodeBaseHead } from "../../src/timeline/base.js";
import { PutRequest, PutResponse, RangeRequest, RangeResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { shardOf } from "../shard/support.js";
import { startRestored, toolOption } from "../snapshot/support.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { type ProxyProcess, startStore, storeConfig, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { stopAndCompare, Watcher, Writer } from "./hostLoad.js";

/*
 * The timeline moves between shards and a cluster of its own while clients write and watch through two proxies.
 */

let store: TestStore;
let dedicated: EtcdProcess;
let files = 0;

before(async () => {
  store = await startStore({ shards: 2, proxies: 2, config: { timeline: { host: "shard0" } } });
  dedicated = await startEtcd();
});

after(async () => {
  await store?.remove();
  await dedicated?.remove();
});

/** A file whose timeline host is the shard with this number, or the dedicated cluster. */
function fileWith(host: number | "dedicated", more = {}): string {
  const timeline = host === "dedicated" ? { endpoints: [dedicated.endpoint] } : { host: `shard${host}` };
  const path = join(temporaryFolder(), `host-${files++}.yaml`);
  writeFileSync(path, storeConfig(store.shards, 1, { timeline, ...more }));
  return path;
}

/** Applies a file with another host. Resolves to false if there was nothing to do. */
async function move(from: number | "dedicated", to: number | "dedicated", more = {}): Promise<boolean> {
  const { code, stdout, stderr } = await applied(fileWith(from, more), fileWith(to, more));
  assert.equal(code, 0, stdout + stderr);
  return !/nothing to do/.test(stdout);
}

const applied = (current: string, file: string) =>
  braid("apply", "--config", file, "--current", current, "--yes");

test("under load the timeline moves to a cluster of its own, and to another shard, and back", async (t) => {
  const writers = store.proxies.flatMap((proxy, i) =>
    ["x", "y"].map((name) => new Writer(proxy, `${name}${i}`)),
  );
  const watchers = store.proxies.map((proxy) => new Watcher(proxy));
  const written = () => writers.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0);
  const more = async () => {
    const enough = written() + 200;
    await until(() => written() >= enough);
  };
  const route = [0, "dedicated", 1, 0, "dedicated", 0] as const;
  await more();
  for (let i = 1; i < route.length; i++) {
    assert.equal(await move(route[i - 1]!, route[i]!), true);
    assert.equal(await move(route[i]!, route[i]!), false, "it is there");
    await more();
  }
  const all = await stopAndCompare(writers, watchers);
  t.diagnostic(
    `${all} puts, the longest took ${Math.max(...writers.map((each) => each.longestMs)).toFixed(0)} ms`,
  );
});

test("a proxy starts with the file from before the move, and with the new one", async () => {
  const client = shardOf([store.endpoint]);
  const request = PutRequest.encode({ key: Buffer.from("/start/k"), value: Buffer.from("v") });
  await client.call(KV.Put, request, { idempotent: false });
  assert.equal(await move(0, "dedicated"), true);
  // Its file names shard0.
  await store.proxies[1]!.kill();
  await store.proxies[1]!.start();
  assert.equal(await read(store.proxies[1]!, "/start/k"), "v");
  assert.equal(await move("dedicated", 1), true);
  await store.proxies[1]!.kill();
  await store.proxies[1]!.start();
  assert.equal(await read(store.proxies[1]!, "/start/k"), "v");
  await client.call(KV.Put, request, { idempotent: false });
  client.close();
  // The dedicated cluster and shard0 have been hosts. shard1 is one, and the file that names it starts at once.
  writeFileSync(
    store.proxies[0]!.configFile,
    storeConfig(store.shards, store.proxies[0]!.port, { timeline: { host: "shard1" } }),
  );
  await store.proxies[0]!.kill();
  await store.proxies[0]!.start();
  assert.equal(await read(store.proxies[0]!, "/start/k"), "v");
  assert.equal(await move(1, 0), true);
});

test("a move that ends before all marks are written leaves a store that works, and is completed later", async () => {
  const [, late] = store.shards as [EtcdProcess, EtcdProcess];
  const marksOf = async () => {
    const client = shardOf([late.endpoint]);
    const { marks } = await readCluster(client);
    client.close();
    return marks.marks.map(({ host }) => host.name);
  };
  const survey = await openSurvey(
    loadConfig(fileWith("dedicated")),
    loadConfig(fileWith(0)),
    createLog("silent"),
  );
  const plans = await PlanStore.open(survey);
  const { client } = survey.shards[1]!.cluster!;
  client.call = () => Promise.reject(new Error("the command ends here"));
  await assert.rejects(moveHost(plans, survey, survey.clusters.at(-1)!), /ends here/);
  plans.close();
  survey.close();
  assert.deepEqual(await marksOf(), ["shard0"]);
  // Its mark names the old host, and both files work.
  for (const host of [0, "dedicated"] as const) {
    const proxy = store.proxies[1]!;
    const timeline = host === 0 ? { host: "shard0" } : { endpoints: [dedicated.endpoint] };
    writeFileSync(proxy.configFile, storeConfig(store.shards, proxy.port, { timeline }));
    await proxy.kill();
    await proxy.start();
    assert.equal(await read(proxy, "/start/k"), "v");
  }
  // The file in force has the old host; what is wrong is only the mark.
  assert.equal(await move("dedicated", "dedicated"), false);
  assert.equal(await move("dedicated", 1), true);
  assert.deepEqual(await marksOf(), ["shard1"]);
  assert.equal(await move(1, 0), true);
  assert.deepEqual(await marksOf(), ["shard0"]);
});

test("a proxy that was stopped over the whole move is not behind, and its file still leads to the timeline", async () => {
  const [one, two] = store.proxies as [ProxyProcess, ProxyProcess];
  const writer = shardOf([one.endpoint]);
  const reader = shardOf([two.endpoint]);
  try {
    for (const [from, to] of [
      [0, "dedicated"],
      ["dedicated", 0],
    ] as const) {
      await two.kill("SIGSTOP");
      const key = Buffer.from(`/stopped-${to}/k`);
      // Sent while it is stopped; carried out when it is not.
      const late = PutRequest.encode({ key: Buffer.from(`/late-${to}/k`), value: key });
      const put = reader.call(KV.Put, late, { idempotent: false });
      assert.equal(await move(from, to), true);
      const bytes = await writer.call(KV.Put, PutRequest.encode({ key, value: key }), { idempotent: false });
      const written = PutResponse.decode(bytes).header!.revision;
      await two.kill("SIGCONT");
      const request = RangeRequest.encode({ key });
      const answer = RangeResponse.decode(await reader.call(KV.Range, request, { idempotent: true }));
      assert.equal(answer.kvs[0]?.modRevision, written);
      assert.ok(answer.header!.revision >= written);
      const { revision } = PutResponse.decode(await put).header!;
      assert.ok(revision > written, `${revision} is after ${written}`);
      assert.equal(await read(one, `/late-${to}/k`), `/stopped-${to}/k`);
    }
  } finally {
    writer.close();
    reader.close();
  }
});

test("a new host that stops right after the move holds writes up, and they go on when it does", async () => {
  const client = shardOf([store.endpoint]);
  const request = PutRequest.encode({ key: Buffer.from("/held/k"), value: Buffer.from("v") });
  const put = async () => PutResponse.decode(await client.call(KV.Put, request, { idempotent: false }));
  try {
    const survey = await openSurvey(
      loadConfig(fileWith("dedicated")),
      loadConfig(fileWith(0)),
      createLog("silent"),
    );
    const plans = await PlanStore.open(survey);
    const before = (await put()).header!.revision;
    // The host stops between the last base of the old host and the first of its own.
    const target = survey.clusters.at(-1)!;
    const { moveTo } = plans;
    plans.moveTo = async (...args) => {
      await dedicated.kill("SIGSTOP");
      return moveTo.apply(plans, args);
    };
    const moved = moveHost(plans, survey, target);
    moved.catch(() => {});
    const old = shardOf([store.shards[0]!.endpoint]);
    await until(async () => decodeBaseHead((await readCluster(old)).base!).next !== undefined);
    old.close();
    await assert.rejects(put(), (error: StatusError) => error.code === Code.UNAVAILABLE);
    await dedicated.kill("SIGCONT");
    await moved;
    assert.ok((await put()).header!.revision > before);
    assert.equal(await read(store.proxies[1]!, "/held/k"), "v");
    plans.close();
    survey.close();
    assert.equal(await move("dedicated", 0), true);
  } finally {
    await dedicated.kill("SIGCONT");
    client.close();
  }
});

test("of two commands that move the timeline to different places at once, the later one gives up", async () => {
  const survey = await openSurvey(
    loadConfig(fileWith("dedicated")),
    loadConfig(fileWith(0)),
    createLog("silent"),
  );
  const plans = await PlanStore.open(survey);
  assert.equal(await move(0, 1), true);
  await assert.rejects(moveHost(plans, survey, survey.clusters.at(-1)!), /meanwhile: run this again/);
  plans.close();
  survey.close();
  assert.equal(await move(1, 1), false);
  assert.equal(await move(1, 0), true);
});

test("a store whose timeline has moved is saved with either file, and restored", async () => {
  assert.equal(await move(0, "dedicated"), true);
  for (const file of [fileWith(0), fileWith("dedicated")]) {
    const folder = join(temporaryFolder(), `saved-${files++}`);
    const saved = await braid("snapshot", "save", folder, "--config", file);
    assert.equal(saved.code, 0, saved.stdout + saved.stderr);
    const out = `${folder}-restored`;
    const restored = await braid("snapshot", "restore", folder, "--data", out, ...toolOption());
    assert.equal(restored.code, 0, restored.stdout + restored.stderr);
    const backends = await startRestored(out, ["shard0", "shard1", "_timeline"]);
    const [timeline] = backends.splice(2);
    const again = await startStore({ backends, config: { timeline: { endpoints: [timeline!.endpoint] } } });
    try {
      assert.equal(await read(again.proxies[0]!, "/start/k"), "v");
      const client = shardOf([again.endpoint]);
      const request = PutRequest.encode({ key: Buffer.from("/start/k"), value: Buffer.from("new") });
      await client.call(KV.Put, request, { idempotent: false });
      client.close();
      assert.equal(await read(again.proxies[0]!, "/start/k"), "new");
    } finally {
      await again.remove();
      await Promise.all([...backends, timeline!].map((etcd) => etcd.remove()));
    }
  }
  assert.equal(await move("dedicated", 0), true);
});

test("a cluster with keys does not become the host, and neither does a shard that is not in the store", async () => {
  const other = await startEtcd();
  try {
    const client = shardOf([other.endpoint]);
    const key = Buffer.from("/taken");
    await client.call(KV.Put, PutRequest.encode({ key, value: key }), { idempotent: false });
    client.close();
    const path = join(temporaryFolder(), "taken.yaml");
    writeFileSync(path, storeConfig(store.shards, 1, { timeline: { endpoints: [other.endpoint] } }));
    const refused = await applied(fileWith(0), path);
    assert.match(refused.stderr, /has keys/);
    assert.equal(refused.code, 1);
    writeFileSync(path, storeConfig([...store.shards, other], 1, { timeline: { host: "shard2" } }));
    const tooEarly = await applied(fileWith(0), path);
    assert.match(tooEarly.stdout, /first apply the new shard/);
    assert.equal(tooEarly.code, 2);
  } finally {
    await other.remove();
  }
});

async function read(proxy: ProxyProcess, key: string): Promise<string | undefined> {
  const client = shardOf([proxy.endpoint]);
  try {
    const bytes = await client.call(KV.Range, RangeRequest.encode({ key: Buffer.from(key) }), {
      idempotent: true,
    });
    const [kv] = RangeResponse.decode(bytes).kvs;
    return kv && Buffer.from(kv.value).toString();
  } finally {
    client.close();
  }
}

test("the shard that is the timeline host is removed: first the timeline moves, then its keys", async () => {
  const client = shardOf([store.endpoint]);
  for (let n = 0; n < 20; n++) {
    const key = Buffer.from(`/remove${n}/k`);
    await client.call(KV.Put, PutRequest.encode({ key, value: key }), { idempotent: false });
  }
  client.close();
  const file = join(temporaryFolder(), "one.yaml");
  const [, kept] = store.shards as [EtcdProcess, EtcdProcess];
  const shards = [{ name: "shard1", endpoints: [kept.endpoint] }];
  writeFileSync(file, storeConfig([], 1, { shards, timeline: { host: "shard1" } }));
  const { code, stdout, stderr } = await applied(fileWith(0), file);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /timeline is on shard "shard1" now[\s\S]*plan \d+ is done/i);
  const own = shardOf([kept.endpoint]);
  for (let n = 0; n < 20; n++) {
    const key = Buffer.from(`/remove${n}/k`);
    const bytes = await own.call(KV.Range, RangeRequest.encode({ key }), { idempotent: true });
    assert.equal(RangeResponse.decode(bytes).kvs.length, 1, "all keys are on the other shard");
    assert.equal(await read(store.proxies[0]!, `/remove${n}/k`), `/remove${n}/k`);
  }
  own.close();
});
