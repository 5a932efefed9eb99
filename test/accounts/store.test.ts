import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Accounts } from "../../src/accounts/accounts.js";
import { Groups } from "../../src/accounts/groups.js";
import { RequestRates } from "../../src/accounts/requests.js";
import { ShardsChanged, sweep } from "../../src/accounts/sweep.js";
import { readUsage } from "../../src/cli/tenantUsage.js";
import { parseConfig } from "../../src/config/load.js";
import type { GroupReport, GroupsReport } from "../../src/console/report.js";
import { Pace } from "../../src/mover/pace.js";
import { KnownMaps } from "../../src/reshard/knownMaps.js";
import { Hasher } from "../../src/routing/hash.js";
import type { Shard } from "../../src/shard/shard.js";
import { Tenants } from "../../src/tenants/tenants.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { DeleteRangeRequest, PutRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { Growing } from "../app/growing.js";
import { consoleConfig, textOf, Visitor } from "../console/support.js";
import { Scrape } from "../ops/scrape.js";
import { recordingLog } from "../shard/support.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { startEtcdctl } from "../support/etcdctl.js";
import { until } from "../support/until.js";

const GROUPS = 60;
const PER_GROUP = 50;

let etcds: EtcdProcess[];
let store: Growing;
let visitor: Visitor;
/** Bytes of all keys with their values, by key. */
const truth = new Map<string, number>();

const put = async (key: string, value: string) => {
  const request = PutRequest.encode({ key: Buffer.from(key), value: Buffer.from(value) });
  const shard = store.operator.shards.at(store.operator.router.shardOf(Buffer.from(key)));
  await shard.call(KV.Put, request, { idempotent: true });
  truth.set(key, key.length + value.length);
};

before(async () => {
  etcds = await startEtcds(4);
  const config = await consoleConfig();
  const tenants = ["/team/", "/team/inner/", "/empty/"].map((prefix) => ({
    name: prefix.replaceAll("/", "") || "all",
    prefix,
  }));
  store = await Growing.open(etcds, 3, { ...config, tenants });
  visitor = new Visitor(config.metrics.listen);
  const puts: [string, string][] = [["/large/one", "x".repeat(900_000)]];
  for (let i = 0; i < GROUPS * PER_GROUP; i++)
    puts.push([`/g${i % GROUPS}/key-${i}`, "v".repeat(1 + (i % 40))]);
  for (let i = 0; i < 300; i++) puts.push([`/team/${i % 3 ? "a" : "inner"}/${i}`, "w"]);
  for (let at = 0; at < puts.length; at += 200)
    await Promise.all(puts.slice(at, at + 200).map(([key, value]) => put(key, value)));
});

after(async () => {
  await store?.close();
  await Promise.all((etcds ?? []).map((etcd) => etcd.remove()));
});

const bytesOf = (matches: (key: string) => boolean): [keys: number, bytes: number] => {
  const found = [...truth].filter(([key]) => matches(key));
  return [found.length, found.reduce((sum, [, size]) => sum + size, 0)];
};

/** Counts all keys as fast as possible. Fails if one is counted twice. Undefined if shards have joined meanwhile. */
async function countAll() {
  const seen = new Map<string, number>();
  const shards = () => store.operator.shards.all();
  const shardOf = (key: Uint8Array) => store.timeline.locator.shardOf(key);
  try {
    await sweep({ shards, shardOf, starts: new WeakMap(), pace: { take: async () => {} } }, (key, bytes) => {
      const text = Buffer.from(key).toString();
      assert.ok(!seen.has(text), `${text} is counted twice`);
      seen.set(text, bytes);
    });
  } catch (reason) {
    if (reason instanceof ShardsChanged) return undefined;
    throw reason;
  }
  return seen;
}

test("a sweep visits every key once, with its bytes; again from where it knows the first page", async () => {
  const starts = new WeakMap<Shard, Uint8Array>();
  for (let round = 0; round < 2; round++) {
    const seen: [string, number][] = [];
    await sweep(
      {
        shards: () => store.operator.shards.all(),
        shardOf: (key) => store.timeline.locator.shardOf(key),
        starts,
        pace: { take: async () => {} },
      },
      (key, bytes) => seen.push([Buffer.from(key).toString(), bytes]),
    );
    assert.deepEqual(
      seen,
      [...truth].sort(([a], [b]) => (a < b ? -1 : 1)),
      `round ${round}`,
    );
    for (const shard of store.operator.shards.all()) assert.ok(starts.has(shard));
  }
});

test("a key on a shard that does not hold it does not count", async () => {
  const stray = Buffer.from("/g1/stray");
  const shards = store.operator.shards.all();
  const other = shards.find(({ index }) => index !== store.operator.router.shardOf(stray))!;
  await other.call(KV.Put, PutRequest.encode({ key: stray, value: stray }), { idempotent: true });
  assert.equal((await countAll())!.size, truth.size);
  await other.call(KV.DeleteRange, DeleteRangeRequest.encode({ key: stray }), { idempotent: true });
});

test("a sweep keeps to its pace, for keys and for bytes", async () => {
  let now = 0;
  const timer = (ms: number, fn: () => void) => {
    const due = now + ms;
    const handle = setImmediate(() => {
      now = Math.max(now, due);
      fn();
    });
    return () => clearImmediate(handle);
  };
  const pace = new Pace({ now: () => now, timer });
  pace.keysPerSecond = 1_000;
  let requests = 0;
  const counted = store.operator.shards.all().map(
    (shard): Shard => ({
      ...shard,
      index: shard.index,
      name: shard.name,
      call: (...args) => {
        requests++;
        return shard.call(...args);
      },
    }),
  );
  await sweep(
    {
      shards: () => counted,
      shardOf: (key) => store.timeline.locator.shardOf(key),
      starts: new WeakMap(),
      pace,
    },
    () => {},
  );
  // The large value counts as 900,000 bytes / 1 KiB keys.
  const units = truth.size + 900_000 / 1_024;
  assert.ok(now > units - 300 && now < units * 1.2, `${now} ms for ${units} keys`);
  assert.ok(requests < 100, `${requests} requests`);
});

test("counts follow each other with a pause; one that fails is said once and repeated; unwanted ones end", async () => {
  let now = 0;
  let wanted = true;
  let isDown = false;
  /** Pauses between counts; waits of the pace pass at once. */
  const pauses: { ms: number; end: () => void }[] = [];
  const runtime = {
    ...systemRuntime,
    now: () => now,
    timer: (ms: number, fn: () => void, background = false) => {
      if (background) pauses.push({ ms, end: fn });
      else {
        now += ms;
        setImmediate(fn);
      }
      return () => {};
    },
  };
  const placed = store.timeline;
  const groups = new Groups(new KnownMaps(placed, await Hasher.load()));
  const log = recordingLog();
  const tenants = new Tenants({ processes: () => 1, now: () => 0, log });
  const shards = store.operator.shards.all().map((shard) =>
    Object.assign(Object.create(shard) as Shard, {
      call: (...args: Parameters<Shard["call"]>) =>
        isDown ? Promise.reject(new Error("it is down")) : shard.call(...args),
    }),
  );
  const accounts = new Accounts({
    shards: () => shards,
    shardOf: (key) => placed.locator.shardOf(key),
    groups,
    tenants,
    watches: [],
    requests: new RequestRates(0),
    processes: () => 1,
    counted: () => {},
    wanted: () => wanted,
    runtime,
    log,
  });
  /** Ends the pause, and waits for the next one. Resolves to its length. */
  const next = async () => {
    pauses.shift()!.end();
    await until("the next pause", () => pauses.length > 0);
    return pauses[0]!.ms;
  };
  accounts.consider();
  accounts.consider();
  assert.equal(pauses.length, 1);
  assert.equal(accounts.countedAt, undefined);
  assert.equal(await next(), 60_000);
  const { countedAt } = accounts;
  assert.ok(countedAt !== undefined && now > 1_000);
  const total = () =>
    ["shard0", "shard1", "shard2"].reduce((sum, name) => sum + accounts.shard(name)!.keys, 0);
  assert.equal(total(), truth.size);
  isDown = true;
  assert.equal(await next(), 10_000);
  assert.equal(await next(), 10_000);
  assert.deepEqual([accounts.countedAt, total()], [countedAt, truth.size], "the last count stays");
  assert.deepEqual(
    log.lines.map(({ message }) => message),
    ["the keys of the store could not be counted"],
  );
  isDown = false;
  assert.equal(await next(), 60_000);
  wanted = false;
  pauses.shift()!.end();
  accounts.consider();
  assert.equal(pauses.length, 0);
  wanted = true;
  accounts.consider();
  assert.equal(pauses.length, 1);
  accounts.stop();
});

test("the console and the metrics show keys and bytes, requests and watches by group and tenant", async (t) => {
  const { braid, address } = await store.proxy();
  t.after(() => braid.stop());
  let json!: GroupsReport;
  await until("the keys are counted", async () => {
    ({ json } = await visitor.api("groups"));
    return json.countedAt !== null;
  });
  const byName = new Map(json.groups!.map((each) => [textOf(each.group), each]));
  const shown = (group: string) => {
    const { keys, bytes, tenant, shard } = byName.get(group)!;
    assert.match(shard, /^shard[012]$/);
    return [keys, bytes, tenant];
  };
  for (const group of ["/g7", "/g59"])
    assert.deepEqual(shown(group), [...bytesOf((key) => key.startsWith(`${group}/`)), null]);
  assert.deepEqual(shown("/large"), [1, 900_010, null]);
  // It has keys of two tenants.
  assert.deepEqual(shown("/team"), [...bytesOf((key) => key.startsWith("/team/")), null]);
  const sum = (read: "keys" | "bytes") => json.shards.reduce((total, each) => total + each[read]!, 0);
  assert.deepEqual(
    [sum("keys"), sum("bytes")],
    bytesOf(() => true),
  );
  assert.ok(json.shards.every(({ keys }) => keys! > 0));
  assert.ok(json.groups!.length <= 200 && Date.now() - json.countedAt! < 60_000);

  const page = await Scrape.of(`http://${visitor.address}/metrics`);
  const stored = (tenant: string) =>
    ["keys", "bytes"].map((what) => page.sum(`braid_tenant_stored_${what}`, { tenant }));
  const isInner = (key: string) => key.startsWith("/team/inner/");
  assert.deepEqual(
    stored("team"),
    bytesOf((key) => key.startsWith("/team/") && !isInner(key)),
  );
  assert.deepEqual(stored("teaminner"), bytesOf(isInner));
  assert.deepEqual(stored("empty"), [0, 0]);
  assert.equal(page.of("braid_tenant_stored_keys", { tenant: "empty" }).length, 1);
  const [age] = page.of("braid_tenant_stored_age_seconds", { tenant: "team" });
  assert.ok(age!.value > 0 && age!.value < 60);
  const config = parseConfig(
    JSON.stringify({
      listen: [address],
      metrics: { listen: visitor.address },
      shards: [{ name: "shard0", endpoints: [etcds[0]!.endpoint] }],
    }),
    "test",
  );
  // What `braid tenant show` prints.
  const usage = await readUsage(config, {}, "team");
  assert.equal(usage!.stored_keys, 200);
  assert.ok(usage!.stored_age_seconds! < 60);

  const watch = startEtcdctl(address, "watch", "--prefix", "/g3/");
  t.after(() => watch.kill("SIGKILL"));
  const read = { key: Buffer.from("/g4/key-4").toString("base64") };
  let group: GroupReport | undefined;
  await until("requests and watches are seen", async () => {
    await Promise.all(
      Array.from({ length: 100 }, () =>
        fetch(`http://${address}/v3/kv/range`, { method: "POST", body: JSON.stringify(read) }),
      ),
    );
    ({ json } = await visitor.api("groups"));
    group = json.groups!.find((each) => textOf(each.group) === "/g4");
    const watched = json.groups!.find((each) => textOf(each.group) === "/g3");
    return group!.requestsPerSecond > 0 && watched?.watches === 1;
  });
  assert.equal(group!.keys, PER_GROUP);
});

test("while a plan moves keys, each key counts once, and afterwards all count", async () => {
  await store.proxy();
  const number = await store.plan([0, 1, 2, 3]);
  await store.control({ plan: number, maxKeysPerSecond: 300 });
  let counts = 0;
  let halfway = 0;
  const { timeline } = store;
  while (timeline.placement.plans < number || timeline.placement.plan !== undefined) {
    const isActive = timeline.placement.plan !== undefined;
    const seen = await countAll();
    if (seen === undefined || !isActive) continue;
    counts++;
    // Keys that move between two pages may be missed, but none is counted that is not there.
    for (const [key, bytes] of seen) assert.equal(bytes, truth.get(key), key);
    const copies = (await store.keysOn(3)).length;
    if (copies > 0 && seen.size > truth.size * 0.9) halfway++;
  }
  await store.done(number);
  assert.ok(halfway > 0, `${counts} counts, none of them while keys were on two shards`);
  assert.ok((await store.keysOn(3)).length > 0, "keys have moved");
  assert.deepEqual(await countAll(), new Map([...truth].sort(([a], [b]) => (a < b ? -1 : 1))));
});
