import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parseConfig } from "../../src/config/load.js";
import type { Manifest } from "../../src/snapshot/manifest.js";
import { WatchRequest, WatchResponse } from "../../src/wire/messages.js";
import { Watch } from "../../src/wire/paths.js";
import { braid, temporaryFolder } from "../support/braid.js";
import type { EtcdProcess } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { type ProxyProcess, startProxyProcess, startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { Client, contentOf, lines, ROUTING, startRestored, toolOption } from "./support.js";

// One store that is written to all the time, saved while it is, and restored twice.
const SHARDS = ["shard0", "shard1", "shard2"];
const WRITERS = 4;
const BUMP = 1_000_000_000;

const folder = temporaryFolder();
const saved = join(folder, "saved");
let store: TestStore;
let client: Client;
/** A lease with keys on all shards, granted before the snapshot and never touched again. */
let lease: bigint;
let manifest: Manifest;
/** The store at the snapshot's revision and at one a little before it, as the store itself tells. */
let expected: string[];
let earlier: { revision: number; lines: string[] };
const proxies: ProxyProcess[] = [];
const etcds: EtcdProcess[] = [];
const clients: Client[] = [];

before(async () => {
  store = await startStore({ proxies: 2, config: { routing: ROUTING } });
  client = new Client(store.proxies[0]!.endpoint);
  clients.push(client);
  lease = await client.grant(500);
  for (const shard of [0, 1, 2]) await client.put(`/${shard}/leased`, "v", lease);
});

after(async () => {
  for (const each of clients) each.close();
  await Promise.all(proxies.map((proxy) => proxy.kill()));
  await Promise.all(etcds.map((etcd) => etcd.remove()));
  await store?.remove();
});

/** Starts the store that is in `out`; resolves to a client of it. */
async function startFrom(out: string): Promise<Client> {
  const started = await startRestored(out, SHARDS);
  etcds.push(...started);
  const proxy = await startProxyProcess(started, { routing: ROUTING });
  proxies.push(proxy);
  const restored = new Client(proxy.endpoint);
  clients.push(restored);
  return restored;
}

/** The first answer to a watch of everything that is what is waited for. */
function watchUntil(
  watching: Client,
  startRevision: number,
  wanted: (response: WatchResponse) => boolean,
): Promise<WatchResponse> {
  return new Promise((resolve, reject) => {
    const stream = watching.shard.stream(Watch.Watch, {
      message: (message) => {
        const response = WatchResponse.decode(message);
        if (!wanted(response)) return;
        stream.cancel();
        resolve(response);
      },
      closed: reject,
    });
    const request = { key: Buffer.from("/"), rangeEnd: Buffer.from("0"), startRevision };
    stream.send(WatchRequest.encode({ kind: "create", request }));
  });
}

/** The revision of the first change from a revision on. */
async function firstChange(watching: Client, startRevision: number): Promise<number | undefined> {
  const { events } = await watchUntil(watching, startRevision, ({ events }) => events.length > 0);
  return events[0]?.kv?.modRevision;
}

test("a store is saved while it is written to, with leases that come and go", async () => {
  let stop = false;
  let writes = 0;
  /** Writes its number on one shard after the other: a state with a later one and without the earlier is no state. */
  const writer = async (name: string) => {
    const own = new Client(store.proxies[1]!.endpoint);
    clients.push(own);
    for (let i = 1; !stop; i++) {
      for (const shard of [0, 1, 2]) await own.put(`/${shard}/${name}`, String(i));
      writes += 3;
    }
  };
  const leasing = async () => {
    for (let i = 0; !stop; i++) {
      const id = await client.grant(100);
      for (const shard of [0, 1, 2]) await client.put(`/${shard}/session${i % 5}`, `session ${i}`, id);
      await client.revoke(id);
    }
  };
  const load = [...Array.from({ length: WRITERS }, (_, i) => writer(`writer${i}`)), leasing()];
  await until("there is something to save", () => writes > 300);
  const before = writes;
  const { code, stdout, stderr } = await braid(
    ...["snapshot", "save", saved, "--config", store.proxies[0]!.configFile],
  );
  assert.equal(code, 0, stderr);
  assert.ok(writes > before, "they were written to all the time");
  await until("the store has moved on", () => writes > before + 300);
  stop = true;
  await Promise.all(load);

  manifest = JSON.parse(readFileSync(join(saved, "manifest.json"), "utf8"));
  assert.match(stdout, new RegExp(`the store at revision ${manifest.revision}, saved 20`));
  assert.deepEqual(
    manifest.clusters.map(({ name, file }) => [name, file]),
    SHARDS.map((name) => [name, `shard-${name}.db`]),
  );
  expected = lines((await client.all(manifest.revision)).kvs);
  const revision = manifest.revision - 100;
  earlier = { revision, lines: lines((await client.all(revision)).kvs) };
  assert.notDeepEqual(earlier.lines, expected);
  assert.notDeepEqual(lines((await client.all()).kvs), expected);
});

test("status checks the files and shows what is there", async () => {
  const { code, stdout } = await braid("snapshot", "status", saved);
  assert.equal(code, 0);
  assert.match(stdout, /shard shard0 \(timeline host\) +3\.\d+\.\d+ +\d+ +\d+\.\d MiB +shard-shard0\.db\n/);
  assert.match(stdout, /All files are intact\.\n$/);
  assert.deepEqual(readdirSync(folder), ["saved"]);
});

test("restored: exactly the keys of that revision, and a next revision that nobody has seen", async () => {
  const out = join(folder, "restored");
  const { code, stdout, stderr } = await braid("snapshot", "restore", saved, "--data", out, ...toolOption());
  assert.equal(code, 0, stderr);
  assert.match(stdout, new RegExp(`the next revision will be ${manifest.revision + BUMP + 1}\\.`));
  assert.match(stdout, /etcd --name m1 --data-dir .*shard2\/m1/);
  assert.deepEqual(readdirSync(folder).toSorted(), ["restored", "saved"]);
  const config = parseConfig(readFileSync(join(out, "shards.yaml"), "utf8"), "shards.yaml");
  assert.deepEqual(
    config.map.shards.map(({ name }) => name),
    SHARDS,
  );

  const restored = await startFrom(out);
  // At its revision: a lease that was being ended there goes on being ended at later ones.
  const { kvs } = await restored.all(manifest.revision + BUMP);
  assert.deepEqual(lines(kvs), expected);
  for (let i = 0; i < WRITERS; i++) {
    const [first, second, third] = [0, 1, 2].map((shard) => Number(contentOf(kvs, `/${shard}/writer${i}`)));
    assert.ok(first! >= second! && second! >= third! && third! >= first! - 1, `${first} ${second} ${third}`);
  }

  // A client that was at a revision of the lost future, and one that was in the past.
  for (const startRevision of [manifest.revision + 50, earlier.revision]) {
    const { compactRevision } = await watchUntil(restored, startRevision, ({ canceled }) => canceled);
    assert.equal(compactRevision, manifest.revision + BUMP);
  }
  await assert.rejects(restored.all(earlier.revision), /required revision has been compacted/);
  await restored.put("/1/new", "v");
  for (const startRevision of [manifest.revision + BUMP, manifest.revision + BUMP + 1]) {
    assert.equal(await firstChange(restored, startRevision), manifest.revision + BUMP + 1);
  }
});

test("restored leases live, with their keys on all shards", async () => {
  const restored = clients.at(-1)!;
  const { ttl, grantedTtl, keys } = await restored.timeToLive(lease);
  assert.equal(grantedTtl, 500);
  assert.ok(ttl > 400, `${ttl}`);
  assert.deepEqual(
    keys.map((key) => Buffer.from(key).toString()),
    ["/0/leased", "/1/leased", "/2/leased"],
  );
  await restored.revoke(lease);
  const { kvs } = await restored.all();
  for (const shard of [0, 1, 2]) assert.equal(contentOf(kvs, `/${shard}/leased`), undefined);
  // A lease that was being ended at the snapshot's revision goes on being ended, with all its keys.
  const ends = new Set<bigint>();
  for (const { lease: each } of kvs) {
    if (each !== 0n && (await restored.timeToLive(each)).ttl <= 0) ends.add(each);
  }
  const left = (await restored.all()).kvs.filter((kv) => ends.has(kv.lease));
  assert.deepEqual(lines(left), []);
});

test("restored without leaving revisions out: the history is there, and goes on", async () => {
  const out = join(folder, "continued");
  const args = ["snapshot", "restore", saved, "--data", out, "--bump-revision", "0", ...toolOption()];
  const { code, stderr } = await braid(...args);
  assert.equal(code, 0, stderr);
  const restored = await startFrom(out);
  assert.deepEqual(lines((await restored.all(manifest.revision)).kvs), expected);
  assert.deepEqual(lines((await restored.all(earlier.revision)).kvs), earlier.lines);
  await restored.put("/2/new", "v");
  assert.equal(await firstChange(restored, manifest.revision + 1), manifest.revision + 1);
  const { code: ended, stdout } = await etcdctl(
    proxies.at(-1)!.endpoint,
    ...["get", "--prefix", "/", "--rev", String(manifest.revision), "--keys-only"],
  );
  assert.equal(ended, 0);
  assert.equal(stdout.split("\n").filter(Boolean).length, expected.length);
});

test("the clusters that were saved have not changed", async () => {
  assert.deepEqual(lines((await client.all(manifest.revision)).kvs), expected);
  assert.ok(existsSync(join(saved, "manifest.json")));
});
