import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { braid } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { ProxyProcess } from "../support/store.js";
import { at, configured, type File, open, over, refusals, revisions } from "./configured.js";

/** A store over a, b and c with the timeline on a; one over p and q with a timeline host; one over x, y and z. */
let store: EtcdProcess[];
let hosted: EtcdProcess[];
let other: EtcdProcess[];
/** Nobody's. */
let empty: EtcdProcess[];
let all: EtcdProcess[];

const right = (timeline?: File["timeline"]): File => over("abc", store, timeline);
const rightHosted = (): File => over("pq", hosted, { endpoints: at(hosted[2]) });

before(async () => {
  [store, hosted, other, empty] = await Promise.all([3, 3, 3, 3].map((count) => startEtcds(count)));
  all = [store, hosted, other, empty].flat();
  for (const file of [right(), rightHosted(), over("xyz", other)]) {
    const proxy = await serving(file);
    for (let n = 0; n < 12; n++) await etcdctl(proxy.endpoint, "put", `/key${n}/x`, `${n}`);
    await proxy.kill();
  }
});

after(() => Promise.all(all.map((etcd) => etcd.remove())));

async function proxyFor(file: File): Promise<ProxyProcess> {
  const { path, port } = await configured(file);
  return new ProxyProcess(path, port);
}

async function serving(file: File): Promise<ProxyProcess> {
  const proxy = await proxyFor(file);
  await proxy.start();
  return proxy;
}

// What was found to lose writes, with the commands as users run them.
const FOUND: [name: string, file: () => File, reason: RegExp][] = [
  [
    "the endpoints of the host's shard exchanged with another's",
    () => exchange(right(), 0, 1),
    /shards\.yaml:\d+: shard "a" \(127[.\d:]+\): .* is shard "b" of this store/,
  ],
  [
    "another shard as the timeline host",
    () => right({ host: "b" }),
    /shards\.yaml:\d+: shard "b" .*the timeline of this store is on shard "a"/,
  ],
  [
    "a timeline host that is no shard, on an existing store",
    () => right({ endpoints: at(empty[0]) }),
    /shards\.yaml:\d+: timeline host .*the timeline of this store is on shard "a"/,
  ],
];

for (const [name, file, reason] of FOUND) {
  test(`serve and check refuse ${name}, and write nothing`, async () => {
    const before = await revisions(all);
    const proxy = await proxyFor(file());
    const started = await proxy.start().then(
      () => "it serves",
      (error: Error) => error.message,
    );
    await proxy.kill();
    assert.match(started, reason);
    const { code, stdout } = await braid("check", "--config", proxy.configFile);
    assert.equal(code, 1, stdout);
    assert.match(stdout, reason);
    assert.deepEqual(await revisions(all), before);
  });
}

test("two proxies with different hosts that start at once on a fresh set: one of them serves", async () => {
  const fresh = await startEtcds(3);
  try {
    const proxies = await Promise.all(["a", "b"].map((host) => proxyFor(over("abc", fresh, { host }))));
    const started = await Promise.allSettled(proxies.map((proxy) => proxy.start()));
    const refused = started.flatMap((each) => (each.status === "rejected" ? [String(each.reason)] : []));
    await Promise.all(proxies.map((proxy) => proxy.kill()));
    assert.equal(refused.length, 1, refused.join("\n"));
    assert.match(refused[0], /the timeline of this store is on shard "[ab]"/);
  } finally {
    await Promise.all(fresh.map((etcd) => etcd.remove()));
  }
});

function exchange(file: File, i: number, j: number): File {
  const { shards } = file;
  [shards[i].endpoints, shards[j].endpoints] = [shards[j].endpoints, shards[i].endpoints];
  return file;
}

function changed(file: File, change: (file: File) => void): File {
  change(file);
  return file;
}

const localhost = (etcd: EtcdProcess): string[] => [`localhost:${etcd.port}`];

type Disagreement = [name: string, file: () => File, reasons: RegExp[]];

/** Every other way; each reason with the line of the file that it names. */
const DISAGREE: Disagreement[] = [
  [
    "a shard has another name",
    () => changed(right(), ({ shards }) => Object.assign(shards[1], { name: "q" })),
    [/shard "q" .* is shard "b" of this store, and the name of a shard cannot change → - name: q/],
  ],
  [
    "the host's shard has another name",
    () => changed(right(), ({ shards }) => Object.assign(shards[0], { name: "q" })),
    [/shard "q" .* is shard "a" of this store, and the name of a shard cannot change → - name: q/],
  ],
  [
    "two shards have exchanged names",
    () => over("acb", store),
    [/shard "c" .* is shard "b" of this store/, /shard "b" .* is shard "c" of this store/],
  ],
  [
    "the shards are in another order, and so another one is the host",
    () => changed(right(), ({ shards }) => shards.reverse()),
    [/the timeline of this store is on shard "a" .*: set timeline\.host to a/],
  ],
  [
    "a shard has another weight",
    () => changed(right(), ({ shards }) => Object.assign(shards[1], { weight: 2 })),
    [/: this store has another shard map: shard b has weight 2 instead of 1 → weight: 2/],
  ],
  [
    "there is another rule",
    () => ({
      ...right(),
      routing: {
        rules: [
          { prefix: "/a/", shard: "b" },
          { prefix: "/b/", segments: 2 },
        ],
      },
    }),
    [
      /another shard map: the rule for prefix "\/a\/" .* is new → - prefix: \/a\//,
      /the rule for prefix "\/b\/" .* is new → - prefix: \/b\//,
    ],
  ],
  [
    "the default rule is another",
    () => ({ ...right(), routing: { default: { segments: 2 } } }),
    [/another shard map: the rule for all other keys is .*segments 2 instead of .*segments 1 → default:/],
  ],
  [
    "there is one shard more",
    () => over("abcd", [...store, empty[0]]),
    [/another shard map: shard d is new → - name: d/],
  ],
  ["there is one shard less", () => over("ab", store), [/another shard map: shard c is gone → shards:/]],
  [
    "a shard is replaced by an empty cluster with another name",
    () => over("abd", [store[0], store[1], empty[0]]),
    [/another shard map: shard c is gone/, /another shard map: shard d is new → - name: d/],
  ],
  [
    "the last shard is the timeline host",
    () => right({ host: "c" }),
    [/shard "c" .*the timeline of this store is on shard "a" .*: set timeline\.host to a → host: c/],
  ],
  [
    "the endpoints of two shards are exchanged that are not the host",
    () => exchange(right(), 1, 2),
    [
      /shard "b" .* is shard "c" of this store → endpoints:/,
      /shard "c" .* is shard "b" of this store → endpoints:/,
    ],
  ],
  [
    "the endpoints of all shards have moved on by one",
    () => over("abc", [store[1], store[2], store[0]]),
    [/shard "a" .* is shard "b"/, /shard "b" .* is shard "c"/, /shard "c" .* is shard "a"/],
  ],
  [
    "a shard has the endpoints of another store's",
    () => over("abc", [store[0], other[1], store[2]]),
    [/shard "b" .* belongs to another store \([0-9a-f]{16}\), as its shard "y" → endpoints:/],
  ],
  [
    "the host's shard has the endpoints of another store's host",
    () => over("abc", [other[0], store[1], store[2]]),
    [/shard "a" .* belongs to another store \([0-9a-f]{16}\), as its shard "x"/],
  ],
  [
    "a shard has the endpoints of another store's timeline host",
    () => over("abc", [store[0], hosted[2], store[2]]),
    [/shard "b" .* belongs to another store \([0-9a-f]{16}\), as its timeline host/],
  ],
  [
    "all shards have the endpoints of another store",
    () => over("abc", other),
    [/shard "a" .* is shard "x" of this store/, /shard "b" .* is shard "y" of this store/],
  ],
  [
    "an empty cluster is where a shard was",
    () => over("abc", [store[0], empty[0], store[2]]),
    [/shard "b" .*: it is the etcd cluster \d+, but the store was made with cluster \d+: .*braid adopt b/],
  ],
  [
    "an empty cluster is where the host's shard was",
    () => over("abc", [empty[0], store[1], store[2]]),
    [/shard "a" .*: it is the etcd cluster \d+, but the store was made with cluster \d+/],
  ],
  // One of them still has the claim that was laid when the store was made.
  ...[0, 1, 2].map(
    (i): Disagreement => [
      `a new store takes shard "${"abc"[i]}" of another one`,
      () => over("uvw", [empty[0], store[i], empty[1]]),
      [
        new RegExp(
          `shard "v" .* belongs to another store \\([0-9a-f]{16}\\), as its shard "${"abc"[i]}" → endpoints:`,
        ),
      ],
    ],
  ),
  [
    "one cluster is two shards",
    () =>
      changed(over("uv", empty), ({ shards }) =>
        Object.assign(shards[1], { endpoints: localhost(empty[0]) }),
      ),
    [/shard "v" \(localhost:\d+\): is the same etcd cluster as shard "u"/],
  ],
  [
    "a shard is the timeline host that shall be none",
    () => over("uv", empty, { endpoints: localhost(empty[1]) }),
    [/timeline host \(localhost:\d+\): is the same etcd cluster as shard "v"/],
  ],
  [
    "the timeline is on another cluster than it was",
    () => over("pq", hosted, { endpoints: at(empty[0]) }),
    [
      /timeline host .*: it is the etcd cluster \d+, but the store was made with cluster \d+: .*adopt _timeline/,
    ],
  ],
  [
    "the timeline host is that of another store",
    () => over("pq", hosted, { endpoints: at(other[0]) }),
    [/timeline host .* belongs to another store \([0-9a-f]{16}\), as its shard "x"/],
  ],
  [
    "the first shard is the timeline host, which was none",
    () => over("pq", hosted),
    [/the timeline of this store is on a cluster that is not a shard .*timeline\.endpoints/],
  ],
  [
    "a shard and the timeline host have exchanged endpoints",
    () => over("pq", [hosted[2], hosted[1]], { endpoints: at(hosted[0]) }),
    [/shard "p" .* is the timeline host of this store/, /timeline host .* is the shard "p" of this store/],
  ],
];

for (const [name, file, reasons] of DISAGREE) {
  test(`refused, with nothing written: ${name}`, async () => {
    const refused = await refusals(file(), all);
    for (const reason of reasons) assert.match(refused, reason);
  });
}

test("the right configurations are opened, and each store has an id of its own", async () => {
  const ids = [];
  for (const file of [right(), rightHosted(), over("xyz", other)]) {
    ids.push(await open(file));
    assert.equal(await open(file), ids[ids.length - 1]);
  }
  assert.equal(new Set(ids).size, 3);
  assert.ok(!ids.includes(0n));
});
