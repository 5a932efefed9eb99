import assert from "node:assert/strict";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createLog } from "../../src/ops/log.js";
import { adoptCluster } from "../../src/server/adoption.js";
import { RangeRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { braid } from "../support/braid.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { ProxyProcess } from "../support/store.js";
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
  refusals,
  withEtcds,
} from "./configured.js";

const log = createLog("silent");

/** Makes the store and writes some keys on each shard. */
async function make(file: File): Promise<bigint> {
  const { path, port } = await configured(file);
  const proxy = new ProxyProcess(path, port);
  await proxy.start();
  try {
    for (let n = 0; n < 12; n++) {
      const { code, stderr } = await etcdctl(proxy.endpoint, "put", `/key${n}/x`, `${n}`);
      assert.equal(code, 0, stderr);
    }
  } finally {
    await proxy.kill();
  }
  return open(file);
}

/** The etcd comes back with nothing, as a cluster with the same id. */
async function wipe(etcd: EtcdProcess): Promise<void> {
  await etcd.kill();
  for (const name of readdirSync(etcd.dir)) rmSync(join(etcd.dir, name), { recursive: true });
  await etcd.restart();
}

/** What an operator restores another cluster from. */
async function restored(etcd: EtcdProcess): Promise<EtcdProcess> {
  const copy = await startEtcd({ name: "copy" });
  const { kvs } = await post(etcd, "range", { key: "AA==", range_end: "AA==" });
  const { revision } = (await post(etcd, "range", { key: "AA==" })).header;
  for (let n = kvs.length; n < Number(revision) + 1; n++) await post(copy, "put", { key: base64("x") });
  for (const { key, value } of kvs) await post(copy, "put", { key, value });
  return copy;
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

test("a running proxy refuses a shard that comes back as another store's, and tells its clients no address", async () => {
  await withEtcds(3, async (etcds) => {
    const file = over("abc", etcds);
    await make(file);
    const store = await opened(file);
    try {
      const [mark] = await marksOf(etcds[1]);
      const key = base64(`\0braid/mark/${mark}`);
      const { kvs } = await post(etcds[1], "range", { key });
      await post(etcds[1], "put", { key: base64("\0braid/mark/00000000000000ab"), value: kvs[0].value });
      await etcds[1].kill();
      await etcds[1].restart();
      const read = RangeRequest.encode({ key: Buffer.from("k") });
      await assert.rejects(
        store.shards[1].call(KV.Range, read, { idempotent: true }),
        ({ message }: Error) => {
          assert.match(
            message,
            /^shard "b": the etcd cluster \d+ belongs to another store \(0+ab\), as its shard "b"$/,
          );
          return true;
        },
      );
      await store.shards[0].call(KV.Range, read, { idempotent: true });
    } finally {
      store.close();
    }
  });
});

test("a shard or a timeline host that was rebuilt from its newest data is adopted, marks and all", async () => {
  for (const rebuilt of [0, 1, 2]) {
    await withEtcds(3, async (etcds) => {
      // The host is a shard, or none.
      const fileOf = (members: readonly EtcdProcess[]) =>
        rebuilt < 2 ? over("abc", members) : over("ab", members, { endpoints: at(members[2]) });
      const id = await make(fileOf(etcds));
      const copy = await restored(etcds[rebuilt]);
      try {
        const members = etcds.with(rebuilt, copy);
        const file = fileOf(members);
        const name = ["a", "b", "_timeline"][rebuilt];
        assert.match(await refusals(file, members), new RegExp(`known with .braid adopt ${name}`));
        const { path } = await configured(file);
        const { code, stdout, stderr } = await braid("adopt", name, "--config", path);
        assert.equal(code, 0, stderr);
        assert.match(stdout, / is this cluster from now on\. Restart the proxies\.\n$/);
        assert.equal(await open(file), id);
        const again = await braid("adopt", name, "--config", path);
        assert.match(again.stdout, /already; nothing was changed/);
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
