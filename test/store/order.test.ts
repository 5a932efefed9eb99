import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Proxy as Braid, startProxy } from "../../src/app/proxy.js";
import { placeOfJoining } from "../../src/app/store/places.js";
import type { StatusReport } from "../../src/cli/statusReport.js";
import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { createLog } from "../../src/ops/log.js";
import { readGen } from "../../src/reshard/gen.js";
import { decodeBaseHead } from "../../src/timeline/base.js";
import { planned } from "../cli/planSupport.js";
import { startRestored, toolOption } from "../snapshot/support.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { EtcdClient, EVERYTHING, text } from "../watch/support.js";
import { at, base64, configured, type File, marksOf, opened, post, rebuild, refusals } from "./configured.js";
import { fileOf, replan } from "./replan.js";

/*
 * The index of a shard in the log is its place in the first file. After plans, the order of a file says nothing: shards are found
 * by their names. The host is the last of the first shards.
 */

type Etcds = Record<string, EtcdProcess>;

async function start(names: string): Promise<Etcds> {
  const etcds = await startEtcds(names.length, { flags: SHARD_FLAGS });
  return Object.fromEntries([...names].map((name, i) => [name, etcds[i]]));
}

const removeAll = (etcds: Etcds) => Promise.all(Object.values(etcds).map((etcd) => etcd.remove()));

async function withStore(names: string, body: (etcds: Etcds) => Promise<void>): Promise<void> {
  const etcds = await start(names);
  try {
    await body(etcds);
  } finally {
    await closeLeft();
    await removeAll(etcds);
  }
}

interface Served {
  readonly proxy: Braid;
  readonly client: EtcdClient;
  get(key: string): Promise<{ value: string | undefined; mod: number; revision: number }>;
  close(): Promise<void>;
}

/** The proxies that run. */
const serving = new Set<Served>();

/** Closes the proxies that a failed test has left. They would keep the process alive. */
async function closeLeft(): Promise<void> {
  for (const { close } of serving) await close();
}

async function served(file: File): Promise<Served> {
  const { config } = await configured(file);
  const proxy = await startProxy(config, createLog("silent"), AbortSignal.abort());
  const client = new EtcdClient(proxy.addresses[0]);
  const all: Served = {
    proxy,
    client,
    get: async (key) => {
      const { header, kvs } = await client.range({ key: Buffer.from(key) });
      const [kv] = kvs;
      return { value: kv && text(kv.value), mod: kv?.modRevision ?? 0, revision: header!.revision };
    },
    close: async () => {
      serving.delete(all);
      client.close();
      await proxy.stop();
    },
  };
  serving.add(all);
  return all;
}

/** Puts keys through a proxy with this file. */
async function fill(file: File, ...keys: string[]): Promise<void> {
  const { client, close } = await served(file);
  for (const key of keys) await client.set(key, "1");
  await close();
}

/** What `braid` prints with this file. Fails if the exit code is another. */
async function run(code: number, file: File, ...args: string[]): Promise<string> {
  const { path } = await configured(file);
  const result = await braid(...args, "--config", path);
  assert.equal(result.code, code, result.stdout + result.stderr);
  return result.stdout + result.stderr;
}

async function genOf(etcd: EtcdProcess): Promise<number> {
  const [mark] = await marksOf(etcd);
  const { kvs } = await post(etcd, "range", { key: base64(`\0braid/mark/${mark}`) });
  return readGen(Buffer.from(kvs[0].value, "base64"));
}

const HOST = { host: "c" };

/** A store of a, b and c, from which a plan has removed a. */
let etcds: Etcds;
const file = (names: string, timeline: File["timeline"] = HOST): File =>
  fileOf(names, etcds, timeline as NonNullable<File["timeline"]>);

before(async () => {
  etcds = await start("abc");
  await fill(file("abc"), "b/x", "c/x");
  await replan(file("abc"), file("bc"));
  await etcds.a.stop();
});

after(async () => {
  await closeLeft();
  await removeAll(etcds);
});

test("the file of a proxy may have the shards in any order, and those that were removed", async () => {
  for (const names of ["bc", "cb", "abc", "cab"]) {
    const store = await opened(file(names));
    const shards = store.shards.all().map(({ name, index }) => `${name} ${index}`);
    store.close();
    assert.deepEqual(shards, ["b 1", "c 2"], names);
    assert.equal(store.timeline.hostShard, 2);
  }
});

test("proxies with the shards in different orders serve one store", async () => {
  const proxies = await Promise.all(["bc", "cb", "cab"].map((names) => served(file(names))));
  try {
    for (const [i, { client }] of proxies.entries()) {
      for (const key of ["b/x", "c/x", "other"]) {
        const mod = await client.set(key, `${i}`);
        for (const { get } of proxies)
          assert.deepEqual(await get(key), { value: `${i}`, mod, revision: mod });
      }
    }
  } finally {
    await Promise.all(proxies.map(({ close }) => close()));
  }
  const { kvs } = await post(etcds.b, "range", { key: base64("b/x") });
  assert.equal(Buffer.from(kvs[0].value, "base64").toString(), "2");
});

test("reads, watches, leases, compactions and maintenance work without the first shard", async () => {
  const { client, proxy, close } = await served(file("cb"));
  const watch = client.watch();
  try {
    await watch.create(EVERYTHING);
    const { id } = await client.grant({ ttl: 60 });
    for (const key of ["b/l", "c/l", "l"]) await client.put({ key: Buffer.from(key), lease: id });
    await watch.until("the events", () => watch.eventsOf(0).length === 3);
    const { kvs } = await client.range(EVERYTHING);
    const keys = kvs.map(({ key }) => text(key));
    for (const key of ["b/l", "b/x", "c/l", "c/x", "l"]) assert.ok(keys.includes(key), key);
    const [address] = proxy.addresses;
    const etcdctlOk = async (...args: string[]) => {
      const { code, stdout, stderr } = await etcdctl(address, ...args);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    assert.match(await etcdctlOk("lease", "timetolive", id.toString(16), "--keys"), /b\/l/);
    await etcdctlOk("lease", "revoke", id.toString(16));
    await watch.until("their ends", () => watch.eventsOf(0).length === 6);
    const { header } = await client.range({ key: Buffer.from("b/x") });
    await client.compact({ revision: header!.revision, physical: true });
    await etcdctlOk("endpoint", "hashkv");
    await etcdctlOk("endpoint", "health");
    await etcdctlOk("alarm", "list");
    await etcdctlOk("defrag");
  } finally {
    watch.close();
    await close();
  }
});

test("a file that contradicts the store is refused at its line, whatever its order", async () => {
  const { b, c } = etcds;
  const heavier = file("cb");
  heavier.shards[1].weight = 2;
  assert.match(
    await refusals(heavier, [b, c]),
    /^\S+: this store has another shard map: shard b has weight 2 instead of 1 → weight: 2$/,
  );
  const exchanged = fileOf("cb", { b: c, c: b }, HOST);
  const refused = await refusals(exchanged, [b, c]);
  assert.match(refused, /shard "c" .* is shard "b" of this store → endpoints:/);
  assert.match(refused, /shard "b" .* is shard "c" of this store → endpoints:/);
  assert.doesNotMatch(refused, /order/);
  const elsewhere = await refusals(file("cb", { host: "b" }), [b, c]);
  assert.match(
    elsewhere,
    /shard "b" .*the timeline of this store is on shard "c" .*: set timeline.host to c/,
  );
  assert.doesNotMatch(elsewhere, /order/);
});

test("check, status, plan, auth repair and adopt work with such a file", async () => {
  const reordered = file("cb");
  assert.match(await run(0, reordered, "check"), /timeline host: shard c[\s\S]*No problems found/);
  const report: StatusReport = JSON.parse(await run(0, reordered, "status", "--json"));
  assert.deepEqual([report.isFileInForce, report.clusters.map(({ name }) => name)], [true, ["b", "c"]]);
  assert.ok(report.clusters.every(({ keys }) => keys! > 0));
  assert.deepEqual((await planned(0, reordered)).changes, []);
  assert.match(await run(0, reordered, "auth", "repair"), /All shards have the same users/);
  for (const name of ["b", "c"]) assert.match(await run(0, reordered, "adopt", name), /nothing was changed/);
});

test("a snapshot of such a store is saved and restored", async () => {
  const folder = join(temporaryFolder(), "saved");
  // The removed shard is in the file, and down.
  await run(0, file("cab"), "snapshot", "save", folder);
  const { clusters } = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  assert.deepEqual(
    clusters.map(({ name, shard }: { name: string; shard: number }) => `${name} ${shard}`),
    ["b 1", "c 2"],
  );
  const out = join(temporaryFolder(), "restored");
  const result = await braid("snapshot", "restore", folder, "--data", out, ...toolOption());
  assert.equal(result.code, 0, result.stderr);
  const [b, c] = await startRestored(out, ["b", "c"]);
  try {
    const { get, client, close } = await served(fileOf("cb", { b, c }, HOST));
    assert.equal((await get("b/x")).value, "2");
    assert.equal((await get("c/x")).value, "2");
    const mod = await client.set("b/x", "restored");
    assert.deepEqual(await get("b/x"), { value: "restored", mod, revision: mod });
    await close();
  } finally {
    await Promise.all([b, c].map((etcd) => etcd.remove()));
  }
});

test("a cluster that was rebuilt is adopted under its index, and its mark does not lower gen", async () => {
  await withStore("abc", async (own) => {
    const names = (list: string, of: Etcds = own) => fileOf(list, of, HOST);
    await fill(names("abc"), "b/x", "c/x");
    const position = await replan(names("abc"), names("bc"));
    await own.a.stop();
    const withoutMark = (key: string) => !key.startsWith("\0braid/mark/");
    for (const name of ["b", "c"]) {
      const copy = await rebuild(own[name], withoutMark);
      await own[name].remove();
      own[name] = copy;
      assert.match(await refusals(names("cb"), [own.b, own.c]), new RegExp(`run .braid adopt ${name}`));
      assert.match(await run(0, names("cb"), "adopt", name), /is now this cluster/);
      assert.equal(await genOf(copy), position);
      const store = await opened(names("bc"));
      assert.equal(
        store.timeline.placement.shards[store.shards.all().find((each) => each.name === name)!.index].name,
        name,
      );
      store.close();
    }
    const { get, client, close } = await served(names("cb"));
    for (const key of ["b/x", "c/x"]) {
      const mod = await client.set(key, "2");
      assert.deepEqual(await get(key), { value: "2", mod, revision: mod });
    }
    await close();
  });
});

test("a shard that the file lacks is reached where the first proxy of the plan had it", async () => {
  await withStore("abc", async (own) => {
    const names = (list: string) => fileOf(list, own, HOST);
    const elsewhere = names("abc");
    elsewhere.shards[0].endpoints = [`localhost:${own.a.port}`];
    await fill(names("abc"), "a/x", "b/x", "c/x");
    // It knows another address, and writes the base after the next.
    const other = await opened(elsewhere);
    await replan(names("abc"), names("bc"), false);
    await other.timeline.sync();
    assert.ok(await other.timeline.log.writeBase());
    other.close();
    const { kvs } = await post(own.c, "range", { key: base64("\0braid/base") });
    const { placement } = decodeBaseHead(Buffer.from(kvs[0].value, "base64"));
    assert.deepEqual(placement!.endpoints, [at(own.a), at(own.b), at(own.c)]);
    const { get, client, close } = await served(names("cb"));
    assert.equal((await get("a/x")).value, "1");
    const mod = await client.set("a/x", "2");
    // The plan is active, and a move takes a revision.
    const { revision, ...rest } = await get("a/x");
    assert.deepEqual(rest, { value: "2", mod });
    assert.ok(revision >= mod);
    await close();
    // A proxy prefers the addresses of its file.
    const store = await opened(elsewhere);
    assert.deepEqual(
      store.backends().map(({ endpoints }) => endpoints[0]),
      [`localhost:${own.a.port}`, ...at(own.b), ...at(own.c)],
    );
    store.close();
  });
});

test("a shard that a plan adds is known by its name, wherever the file has it", async () => {
  await withStore("abcd", async (own) => {
    const names = (list: string) => fileOf(list, own, HOST);
    await fill(names("abc"), "b/x");
    await replan(names("abc"), names("dbc"));
    for (const list of ["dbc", "bcd", "cab"]) {
      const store = await opened(names(list));
      const shards = store.shards.all().map(({ name, index }) => `${name} ${index}`);
      store.close();
      assert.deepEqual(shards, ["b 1", "c 2", "d 3"], list);
    }
    const { get, client, close } = await served(names("cdb"));
    const mod = await client.set("d/x", "1");
    assert.deepEqual(await get("d/x"), { value: "1", mod, revision: mod });
    await close();
    const { kvs } = await post(own.d, "range", { key: base64("d/x") });
    assert.equal(kvs.length, 1);
  });
});

test("a shard that was removed comes back under its name with its cluster, and not otherwise", async () => {
  await withStore("abce", async (own) => {
    const names = (list: string, of: Etcds = own) => fileOf(list, of, HOST);
    await fill(names("abc"), "b/x");
    await replan(names("abc"), names("bc"));
    const problems = async (list: string, of: Etcds) =>
      (await planned(2, names(list, of))).problems.join("\n");
    const taken = await problems("bca", { ...own, a: own.e });
    assert.match(
      taken,
      /shard "a" .*: it is the etcd cluster \d+, but in this store the name belongs to the/,
    );
    const renamed = { ...own, e: own.a };
    assert.match(
      await problems("bce", renamed),
      /is shard "a" of this store, and the name of a shard cannot/,
    );
    const key = base64(`\0braid/mark/${(await marksOf(own.a))[0]}`);
    const [{ value }] = (await post(own.a, "range", { key })).kvs;
    await post(own.a, "deleterange", { key });
    assert.match(
      await problems("bce", renamed),
      /the etcd cluster \d+ was shard "a" of this store: use this/,
    );
    await post(own.a, "put", { key, value });
    assert.deepEqual((await planned(3, names("bca"))).problems, []);
    await replan(names("cb"), names("bca"), false);
    const store = await opened(names("cb"));
    const shards = store.shards.all().map(({ name, index }) => `${name} ${index}`);
    store.close();
    assert.deepEqual(shards, ["a 0", "b 1", "c 2"]);
  });
});

test("a proxy that a shard joins prefers the address in its file, and else has that of the store", async () => {
  const { config } = await configured(file("bc"));
  const joining = { index: 1, endpoints: ["elsewhere:1"], clusterId: "1", cut: 1 };
  assert.deepEqual(placeOfJoining({ ...joining, name: "b" }, config).endpoints, at(etcds.b));
  assert.deepEqual(placeOfJoining({ ...joining, name: "a" }, config).endpoints, ["elsewhere:1"]);
});
