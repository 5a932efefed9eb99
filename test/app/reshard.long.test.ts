import assert from "node:assert/strict";
import { hostname } from "node:os";
import { test } from "node:test";
import { Code } from "../../src/status/error.js";
import { type KeyValue, PutRequest, RangeRequest, RangeResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { AuthClient } from "../auth/client.js";
import { addRoots, CHEAP, OWN, ok, ROOT } from "../auth/support.js";
import { Scrape } from "../ops/scrape.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { type ProxyProcess, startProxyProcess } from "../support/store.js";
import { until } from "../support/until.js";
import { newSeed } from "../watch/random.js";
import { bytes, EtcdClient, EVERYTHING, text } from "../watch/support.js";
import { Growing, type LoggedProxy, withStore } from "./growing.js";
import { Load } from "./load.js";

/*
 * Running proxies carry out plans. A plan is recorded as `braid apply` records it.
 */

/** Puts keys of 100 groups. */
async function fill(address: string, keys: number): Promise<void> {
  const client = new EtcdClient(address);
  try {
    for (let at = 0; at < keys; at += 100) {
      const names = Array.from({ length: 100 }, (_, i) => `/g${(at / 100) % 100}/k${at + i}`);
      await client.txn({
        success: names.map((name) => ({ kind: "put", request: { key: bytes(name), value: bytes("v") } })),
      });
    }
  } finally {
    client.close();
  }
}

async function stateAt(address: string): Promise<readonly KeyValue[]> {
  const client = new EtcdClient(address);
  try {
    return (await client.range(EVERYTHING)).kvs;
  } finally {
    client.close();
  }
}

/** Fails if a proxy does not show this state, or keys are left on shards that do not hold them. */
async function checkState(store: Growing, address: string, state: readonly KeyValue[]): Promise<number[]> {
  assert.deepEqual(await stateAt(address), state, "keys, values, revisions and versions are as before");
  return store.checkPlaces();
}

async function metricsOf({ address }: LoggedProxy) {
  const page = await Scrape.of(`http://${address}/metrics`);
  const read = (name: string) => page.sum(`braid_reshard_${name}`, {});
  return {
    plan: read("plan"),
    active: read("active"),
    mover: read("mover"),
    waiting: read("waiting"),
    keys: read("keys_moved_total"),
  };
}

const says = ({ lines }: LoggedProxy, text: string): boolean => lines.some((line) => line.includes(text));

test("a plan ends on shards that accept transactions of few operations", async () => {
  const etcds = await startEtcds(2, { flags: ["--max-txn-ops", "34"] });
  const store = await Growing.open(etcds, 1, { limits: { maxTxnOps: 32 } });
  try {
    const { address } = await store.proxy();
    const client = new EtcdClient(address);
    // Each group has one key, so that every key is deleted by an operation of its own.
    for (let i = 0; i < 200; i++) await client.put({ key: bytes(`/g${i}/k`), value: bytes("v") });
    client.close();
    const state = await stateAt(address);
    await store.done(await store.plan([0, 1]));
    await checkState(store, address, state);
  } finally {
    await store.close();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
});

test("a store grows to three shards and shrinks again under load, and clients see one etcd", async () => {
  const plain = await startEtcd();
  await withStore("shard", async (store) => {
    const addresses = [(await store.proxy()).address, (await store.proxy()).address];
    const load = new Load(newSeed("resharding under load"));
    try {
      for (const address of addresses) await load.watch(address);
      await load.watch(addresses[1]!, "/g1");
      for (let i = 0; i < 6; i++) load.start(addresses[i % 2]!);
      await load.more(400);
      await store.done(await store.plan([0, 1, 2]));
      await load.more(200);
      assert.ok((await store.keysOn(2)).length > 0);
      await store.done(await store.plan([0, 1]));
      await load.more(200);
      await load.compare(plain, addresses);
      assert.equal((await store.checkPlaces())[2], 0, "the removed shard is empty");
    } finally {
      load.close();
    }
  }).finally(() => plain.remove());
});

test("a proxy that is killed while it moves keys is replaced, and clients of others do not notice", async () => {
  const plain = await startEtcd();
  await withStore("dedicated", async (store, etcds) => {
    const { address } = await store.proxy(false);
    const movers: ProxyProcess[] = [];
    const load = new Load(newSeed("a killed mover under load"));
    try {
      await load.watch(address);
      for (let i = 0; i < 4; i++) load.start(address);
      await load.more(400);
      // After the keys of one source, those of the other wait.
      await store.control({ plan: 1, maxKeysPerSecond: 0.1 });
      const plan = await store.plan([0, 1, 2]);
      for (let i = 0; i < 2; i++) movers.push(await startProxyProcess(etcds.slice(0, 2), store.settings));
      await until("keys are copied", async () => ((await store.progress())?.stepKeys ?? 0) > 0);
      const isMover = async ({ pid }: ProxyProcess) =>
        (await store.progress())!.proxy.startsWith(`${hostname()}:${pid}/`);
      const killed = (await isMover(movers[0]!)) ? movers[0]! : movers[1]!;
      const other = movers.find((proxy) => proxy !== killed)!;
      assert.ok(await isMover(killed), "a proxy that is no candidate moves keys");
      await killed.kill();
      await store.control({});
      await store.done(plan);
      await until("the end is recorded", async () => (await store.progress())?.phase === "idle");
      assert.ok(await isMover(other), "the other has ended the plan");
      await load.more(200);
      await load.compare(plain, [address, other.endpoint]);
      assert.ok((await store.checkPlaces())[2]! > 0);
    } finally {
      load.close();
      await Promise.all(movers.map((proxy) => proxy.kill()));
    }
  }).finally(() => plain.remove());
});

test("operators pause, resume and slow down a plan; a stopped proxy hands over at once", async () => {
  await withStore("shard", async (store) => {
    const proxies = [await store.proxy(), await store.proxy()];
    await fill(proxies[0]!.address, 6_000);
    const state = await stateAt(proxies[0]!.address);
    await store.control({ plan: 1, paused: true, maxKeysPerSecond: 200 });
    const plan = await store.plan([0, 1, 2]);
    await until("it is paused", async () => (await store.progress())?.waiting === "paused");
    assert.equal((await store.keysOn(2)).length, 0);
    const mover = proxies.find((proxy) => says(proxy, "this proxy moves the keys"))!;
    const other = proxies.find((proxy) => proxy !== mover)!;
    assert.ok(says(mover, "the plan is paused"));
    assert.ok(!says(other, "this proxy moves the keys"), "one at a time");
    assert.deepEqual(await metricsOf(other), { plan: 1, active: 1, mover: 0, waiting: 0, keys: 0 });
    const paused = { plan: 1, active: 1, mover: 1, waiting: 1, keys: 0 };
    assert.deepEqual(await metricsOf(mover), paused);
    assert.match(await ok(etcdctl(mover.address, "lease", "list")), /found 0 leases/);

    await store.control({ maxKeysPerSecond: 200 });
    await until("keys are copied", async () => ((await store.progress())?.stepKeys ?? 0) > 0);
    assert.ok(says(mover, "the plan is resumed"));
    assert.ok(says(mover, '"maxKeysPerSecond":200'));

    // The rest would take longer than this test waits.
    await store.control({ maxKeysPerSecond: 0.1 });
    await until("it is slow", () => says(mover, '"maxKeysPerSecond":0.1'));
    const { proxy } = (await store.progress())!;
    await mover.braid.stop();
    assert.notEqual(await store.mover(), proxy, "the seat is free when the proxy has stopped");
    await until("the other moves keys", () => says(other, "this proxy moves the keys"));
    await store.control({});
    await store.done(plan);
    const counts = await checkState(store, other.address, state);
    const idle = async () => (await metricsOf(other)).mover === 0;
    await until("the other has left the seat", idle);
    const after = { plan: 1, active: 0, mover: 0, waiting: 0, keys: counts[2]! };
    assert.deepEqual(await metricsOf(other), after);
  });
});

test("a plan turns back after its first step, and its keys come back", async () => {
  await withStore("shard", async (store) => {
    const { address, lines } = await store.proxy();
    await fill(address, 40_000);
    const state = await stateAt(address);
    // So slow that it reads the control before the first step ends.
    await store.control({ plan: 1, maxKeysPerSecond: 2_000 });
    await store.plan([0, 1, 2]);
    await until("it moves keys", async () => (await store.mover()) !== undefined);
    await store.control({ paused: true, maxKeysPerSecond: 2_000 });
    await until("it is paused", async () => (await store.progress())?.waiting === "paused");
    const { steps, keys, longestPauseMs } = (await store.progress())!;
    assert.equal(steps, 1);
    assert.ok(keys > 0 && longestPauseMs > 0);
    assert.equal((await store.keysOn(2)).length, keys);
    const back = await store.turnBack();
    await store.done(back);
    assert.equal((await checkState(store, address, state))[2], 0);
    await until("the end is recorded", async () => (await store.progress())?.phase === "idle");
    const end = (await store.progress())!;
    assert.deepEqual([end.plan, end.keys], [back, keys], "the way back is counted anew");
    assert.ok(lines.some((line) => line.includes("the plan is resumed")));
  });
});

/** Grants so many leases that each shard is the home of some. */
async function grantMany(client: EtcdClient): Promise<bigint[]> {
  const grants = await Promise.all(Array.from({ length: 8 }, () => client.grant({ ttl: 600 })));
  return grants.map(({ id }) => id);
}

test("a new shard dies for good before keys have moved there: the plan turns back, and ends without it", async () => {
  await withStore("shard", async (store, etcds) => {
    const { address, lines } = await store.proxy();
    await fill(address, 3_000);
    const state = await stateAt(address);
    const client = new EtcdClient(address);
    try {
      const leases = await grantMany(client);
      await store.control({ plan: 1, maxKeysPerSecond: 0.1 });
      await store.plan([0, 1, 2]);
      await until("keys are copied", async () => ((await store.progress())?.stepKeys ?? 0) > 0);
      await etcds[2]!.kill();
      const back = await store.turnBack();
      await until("it says what it waits for", async () =>
        /shard "shard2".*goes on without this shard/.test((await store.progress())?.waiting ?? ""),
      );
      assert.deepEqual(await stateAt(address), state, "meanwhile clients are served");
      for (const id of leases) await client.put({ key: bytes(`/lease/${id}`), value: bytes("v"), lease: id });
      await store.done(back);
      assert.ok(lines.some((line) => line.includes("a shard leaves the store that cannot be reached")));
      const after = (await stateAt(address)).filter(({ lease }) => lease === 0n);
      assert.deepEqual(after, state);
      for (const id of leases) await client.revoke({ id });
      assert.deepEqual(await stateAt(address), state, "leases end with their keys");
    } finally {
      client.close();
    }
  });
});

test("a removed shard dies for good after its keys have moved: the plan ends without it, and leases live on", async () => {
  await withStore("shard", async (store, etcds) => {
    const { address } = await store.proxy();
    await store.done(await store.plan([0, 1, 2]));
    await fill(address, 3_000);
    const state = await stateAt(address);
    const client = new EtcdClient(address);
    try {
      const leases = await grantMany(client);
      for (const id of leases)
        await client.put({ key: bytes(`/lease${id}/x`), value: bytes("v"), lease: id });
      const attached = await stateAt(address);
      // Deleting the keys that have moved takes some seconds.
      const plan = store.timeline.placement.plans + 1;
      await store.control({ plan, maxKeysPerSecond: 200 });
      await store.plan([0, 1]);
      await until("all keys have moved", () => store.timeline.placement.plan?.cursor === null);
      await etcds[2]!.kill();
      await store.control({ plan });
      await store.done(plan);
      assert.deepEqual(await stateAt(address), attached);
      for (const id of leases) await client.revoke({ id });
      assert.deepEqual(await stateAt(address), state, "leases end with their keys");
    } finally {
      client.close();
    }
  });
});

test("a mover that loses its lease stops; a proxy takes the seat again and goes on", async () => {
  await withStore("dedicated", async (store) => {
    const { address, lines } = await store.proxy();
    await fill(address, 3_000);
    const state = await stateAt(address);
    // The plan cannot end before the control has been changed and read.
    await store.control({ plan: 1, maxKeysPerSecond: 0.1 });
    const plan = await store.plan([0, 1, 2]);
    await until("keys are copied", async () => ((await store.progress())?.stepKeys ?? 0) > 0);
    await store.endSeat();
    await until("it has noticed", () => lines.some((line) => line.includes("the mover's lease has ended")));
    await store.control({});
    await store.done(plan);
    await checkState(store, address, state);
    assert.equal(lines.filter((line) => line.includes("this proxy moves the keys")).length, 2);
  });
});

test("while the timeline host is down, a mover gives up, and its proxy can stop; another one goes on later", async () => {
  await withStore("dedicated", async (store, _, host) => {
    const proxies = [await store.proxy(), await store.proxy()];
    await fill(proxies[0]!.address, 3_000);
    const state = await stateAt(proxies[0]!.address);
    await store.control({ plan: 1, maxKeysPerSecond: 0.1 });
    const plan = await store.plan([0, 1, 2]);
    await until("keys are copied", async () => ((await store.progress())?.stepKeys ?? 0) > 0);
    const mover = proxies.find((proxy) => says(proxy, "this proxy moves the keys"))!;
    const other = proxies.find((proxy) => proxy !== mover)!;
    await host.kill();
    await until("it has noticed", () => says(mover, "the mover's lease has ended"));
    await mover.braid.stop();
    await host.restart();
    await until("the other moves keys", () => says(other, "this proxy moves the keys"));
    await store.control({});
    await store.done(plan);
    await checkState(store, other.address, state);
  });
});

test("a shard that was removed is retired when no old revision needs it any more, and leases live on", async () => {
  await withStore("shard", async (store, etcds) => {
    const { address, lines } = await store.proxy();
    await fill(address, 300);
    const client = new EtcdClient(address);
    const retired = () => lines.some((line) => line.includes('shard leaves the store {"shard":"shard2"'));
    const leased = async () => {
      const { kvs } = await client.range(EVERYTHING);
      return kvs.filter(({ lease }) => lease > 0n).map(({ key }) => text(key));
    };
    try {
      await store.done(await store.plan([0, 1, 2]));
      const { locator, placement } = store.timeline;
      const router = locator.router(placement.inForce);
      let id = 77n;
      while (router.homeOf(id) !== 2) id++;
      await client.grant({ id, ttl: 600 });
      const names = [(await store.keysOn(2))[0]!, (await store.keysOn(0))[0]!].sort();
      for (const name of names) await client.put({ key: bytes(name), value: bytes("leased"), lease: id });
      const before = (await client.range(EVERYTHING)).header!.revision;
      await store.done(await store.plan([0, 1]));
      assert.equal((await client.range({ ...EVERYTHING, revision: before })).count, 300);
      assert.ok(!retired(), "old revisions are read there");
      const revision = await client.set("/g1/k199", "again");
      await client.compact({ revision });
      await until("it is retired", retired);
      await etcds[2]!.kill();
      assert.deepEqual(await leased(), names);
      await client.set("/g1/other", "without it");
      await client.revoke({ id });
      assert.deepEqual(await leased(), []);
      assert.equal((await client.range(EVERYTHING)).count, 299);
    } finally {
      client.close();
    }
  });
});

test("a physical compaction succeeds although a removed shard leaves the store because of it", async () => {
  await withStore("dedicated", async (store) => {
    const { address, lines } = await store.proxy();
    await fill(address, 100);
    const client = new EtcdClient(address);
    try {
      await store.done(await store.plan([0, 1, 2]));
      await store.done(await store.plan([0, 1]));
      const revision = await client.set("/g1/k1", "again");
      await client.compact({ revision, physical: true });
      await until("it is retired", () => lines.some((line) => line.includes("shard leaves the store")));
      assert.ok(!lines.some((line) => line.includes("shard not compacted yet")));
    } finally {
      client.close();
    }
  });
});

test("with authentication, a proxy moves keys with its own user", async () => {
  const [etcds, host] = await Promise.all([startEtcds(3, CHEAP), startEtcd(CHEAP)]);
  const all = [...etcds, host];
  const settings = { timeline: { endpoints: [host.endpoint] }, auth: OWN };
  for (const { endpoint } of all) await addRoots(endpoint);
  const enable = ({ endpoint }: EtcdProcess) => ok(etcdctl(endpoint, "auth", "enable"));
  for (const etcd of [etcds[0]!, etcds[1]!, host]) await enable(etcd);
  const store = await Growing.open(etcds, 2, settings);
  try {
    await store.prepare(2);
    await enable(etcds[2]!);
    const { address } = await store.proxy();
    const client = new AuthClient(address);
    const token = await client.login(...(ROOT.split(":") as [string, string]));
    for (let i = 0; i < 100; i++) {
      const request = PutRequest.encode({ key: bytes(`/g${i}/k`), value: bytes(`${i}`) });
      assert.equal((await client.outcome(KV.Put, request, token)).code, Code.OK);
    }
    await store.done(await store.plan([0, 1, 2]));
    const answer = RangeResponse.decode(await client.call(KV.Range, RangeRequest.encode(EVERYTHING), token));
    assert.equal(answer.count, 100);
    const counts = await store.checkPlaces();
    assert.ok(counts[2]! > 0);
    client.close();
  } finally {
    await store.close();
    await Promise.all(all.map((etcd) => etcd.remove()));
  }
});

test("during a plan, a user who may only write deletes a range over several shards", async () => {
  const [host, ...etcds] = await startEtcds(3);
  const all = [host!, ...etcds];
  for (const { endpoint } of all) await addRoots(endpoint);
  for (const { endpoint } of all) await ok(etcdctl(endpoint, "auth", "enable"));
  const settings = { timeline: { endpoints: [host!.endpoint] }, auth: OWN };
  const store = await Growing.open(etcds, 2, settings);
  try {
    const { address } = await store.proxy();
    const asRoot = (...args: string[]) => ok(etcdctl(address, "--user", ROOT, ...args));
    await asRoot("role", "add", "writer");
    await asRoot("role", "grant-permission", "writer", "write", "/g", "/h");
    await asRoot("user", "add", "writer:w");
    await asRoot("user", "grant-role", "writer", "writer");
    const remove = (user: string, end: string) =>
      etcdctl(address, "--user", user, "del", "/g", end).then(({ stdout, stderr }) => stdout || stderr);
    const fillGroups = async () => {
      for (let i = 0; i < 12; i++) await asRoot("put", `/g${i}/k`, "v");
    };
    await fillGroups();
    assert.equal(await remove("writer:w", "/h"), "12\n", "without a plan");
    await fillGroups();
    await store.control({ plan: 1, paused: true });
    await store.plan([0, 1], { rules: [{ prefix: "/g1", shard: "shard1" }] });
    assert.match(await remove("writer:w", "/i"), /permission denied/);
    assert.equal(await remove("writer:w", "/h"), "12\n");
    assert.equal(await remove("writer:w", "/h"), "0\n");
  } finally {
    await store.close();
    await Promise.all(all.map((etcd) => etcd.remove()));
  }
});
