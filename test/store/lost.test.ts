import assert from "node:assert/strict";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { adoptCluster } from "../../src/app/store/adoption.js";
import { createLog } from "../../src/ops/log.js";
import { PutRequest, RangeRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { peekRevision } from "../../src/wire/rewrite.js";
import { braid } from "../support/braid.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import {
  at,
  base64,
  configured,
  type File,
  marksOf,
  open,
  opened,
  over,
  post,
  rebuild,
  refusals,
  withEtcds,
} from "./configured.js";

const log = createLog("silent");

/** Makes the store and writes a few keys on each shard; resolves to its id. */
async function make(file: File): Promise<bigint> {
  const store = await opened(file);
  try {
    for (const client of store.clients.all()) {
      for (const key of ["k1", "k2", "k3"]) {
        const request = PutRequest.encode({ key: Buffer.from(key) });
        const answer = await client.call(KV.Put, request, { idempotent: false });
        await store.timeline.seal(client.index, peekRevision(answer), true);
      }
    }
    return store.id;
  } finally {
    store.close();
  }
}

/** The etcd comes back with nothing, as a cluster with the same id. */
async function wipe(etcd: EtcdProcess): Promise<void> {
  await etcd.kill();
  for (const name of readdirSync(etcd.dir)) rmSync(join(etcd.dir, name), { recursive: true });
  await etcd.restart();
}

test("a timeline host that has lost its data is refused, whether it is a shard or not", async () => {
  await withEtcds(3, async (etcds) => {
    for (const file of [over("abc", etcds)]) {
      await make(file);
      await wipe(etcds[0]);
      assert.match(await refusals(file, etcds), /:\d+: shard "a" .* has lost the timeline of this store/);
    }
  });
  await withEtcds(3, async (etcds) => {
    const file = over("ab", etcds, { endpoints: at(etcds[2]) });
    await make(file);
    await wipe(etcds[2]);
    assert.match(await refusals(file, etcds), /:\d+: timeline host .* has lost the timeline of this store/);
  });
});

test("a shard that has lost its data is refused at start, also when it holds as much again", async () => {
  await withEtcds(3, async (etcds) => {
    const file = over("abc", etcds);
    await make(file);
    await wipe(etcds[1]);
    for (let n = 0; n < 30; n++) await post(etcds[1], "put", { key: base64("/foreign") });
    assert.match(await refusals(file, etcds), /shard "b" .* carries no mark of this store, so it lost data/);
  });
});

const RETURNS: [
  name: string,
  change: (key: string, value: string) => { key: string; value: string },
  reason: RegExp,
][] = [
  [
    "another store's",
    (_, value) => ({ key: "\0braid/mark/00000000000000ab", value }),
    /^shard "b": the etcd cluster \d+ belongs to another store \(0+ab\), as its shard "b"$/,
  ],
  [
    "another shard",
    (key, value) => ({ key, value: value.replace('"b"', '"c"') }),
    /^shard "b": the etcd cluster \d+ is shard "c" of this store$/,
  ],
  [
    "one whose timeline is elsewhere by now",
    (key, value) => ({ key, value: value.replace(/"clusterId":"\d+"/, '"clusterId":"123"') }),
    /^shard "b": the timeline is now on the etcd cluster 123, but this proxy uses \d+: restart the proxy$/,
  ],
];

for (const [name, change, reason] of RETURNS) {
  test(`a running proxy refuses a shard that comes back as ${name}, and tells its clients no address`, async () => {
    await withEtcds(3, async (etcds) => {
      const file = over("abc", etcds);
      await make(file);
      const store = await opened(file);
      try {
        const [mark] = await marksOf(etcds[1]);
        const key = `\0braid/mark/${mark}`;
        const { kvs } = await post(etcds[1], "range", { key: base64(key) });
        const changed = change(key, Buffer.from(kvs[0].value, "base64").toString());
        await post(etcds[1], "put", { key: base64(changed.key), value: base64(changed.value) });
        await etcds[1].kill();
        await etcds[1].restart();
        const read = RangeRequest.encode({ key: Buffer.from("k") });
        const refused = store.shards.at(1).call(KV.Range, read, { idempotent: true });
        await assert.rejects(refused, ({ message }: Error) => reason.test(message));
        await store.shards.at(0).call(KV.Range, read, { idempotent: true });
      } finally {
        store.close();
      }
    });
  });
}

test("a shard or a timeline host that was rebuilt from its newest data is adopted, marks and all", async () => {
  for (const rebuilt of [0, 1, 2]) {
    await withEtcds(3, async (etcds) => {
      // The host is a shard, or none.
      const fileOf = (members: readonly EtcdProcess[]) =>
        rebuilt < 2 ? over("abc", members) : over("ab", members, { endpoints: at(members[2]) });
      const id = await make(fileOf(etcds));
      const copy = await rebuild(etcds[rebuilt]);
      try {
        const members = etcds.with(rebuilt, copy);
        const file = fileOf(members);
        const name = ["a", "b", "_timeline"][rebuilt];
        assert.match(await refusals(file, members), new RegExp(`run .braid adopt ${name}`));
        const { path } = await configured(file);
        const { code, stdout, stderr } = await braid("adopt", name, "--config", path);
        assert.equal(code, 0, stderr);
        assert.match(stdout, / is now this cluster\. Restart the proxies\.\n$/);
        assert.equal(await open(file), id);
        const again = await braid("adopt", name, "--config", path);
        assert.match(again.stdout, /is already this cluster; nothing was changed/);
        const old = await refusals(fileOf(etcds), etcds);
        assert.match(old, /but the store was made with cluster/);
      } finally {
        await copy.remove();
      }
    });
  }
});

test("a cluster that belongs to something else is not adopted", async () => {
  await withEtcds(4, async (etcds) => {
    const [a, b, c, d] = etcds;
    await make(over("ab", [a, b]));
    await make(over("xy", [c, d]));
    for (const [file, reason] of [
      [over("ab", [a, d]), /belongs to another store/],
      [over("ab", [b, a]), /is shard "b" of this store/],
      [over("ab", [a, b], { host: "b" }), /the timeline of this store is on shard "a"/],
    ] as const) {
      for (const index of [0, 1]) {
        const { config } = await configured(file);
        await assert.rejects(adoptCluster(config, index, log), reason);
      }
    }
    const fresh = await startEtcd();
    try {
      const { config } = await configured(over("ab", [fresh, b]));
      await assert.rejects(adoptCluster(config, 0, log), /holds no timeline|is on shard|lost/);
    } finally {
      await fresh.remove();
    }
  });
});
