import assert from "node:assert/strict";
import { test } from "node:test";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import type { CarriedEntry } from "../../src/timeline/view.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { mapText, newMaps, noOtherHost } from "../support/maps.js";
import { SimEtcd } from "./sim/etcd.js";
import { Network, putCarrying, simHost } from "./sim/network.js";
import { Random } from "./sim/scheduler.js";

/** Calls take effect, and their responses arrive, in later turns of the event loop. */
const CLOCK = {
  now: 0,
  after(_ms: number, fn: () => void) {
    const handle = setImmediate(fn);
    return () => clearImmediate(handle);
  },
};

/** A store of two shards, the first of which is the host. Without an id, its first base has format 1. */
async function open(t: { after(fn: () => void): void }, store: string | undefined) {
  const etcd = new SimEtcd();
  const network = new Network(CLOCK, new Random(1), { loss: 0, cut: 0, lag: 0 });
  const timeline = new SharedTimeline(2, {
    host: simHost(network, etcd),
    hostShard: 0,
    hostOf: noOtherHost,
    proxy: "proxy",
    map: mapText(2),
    maps: newMaps(),
    runtime: systemRuntime,
    genesis: async () => ({
      revisions: [1, 1],
      clusterIds: ["1", "2"],
      ...(store !== undefined && { store }),
    }),
    accept() {},
  });
  await timeline.open();
  t.after(() => timeline.close());
  const ask = (shard: number) =>
    new Promise<CarriedEntry | undefined>((resolve) => timeline.withEntry(shard, resolve));
  const put = (entry: CarriedEntry) =>
    entry.settle(putCarrying(etcd, { key: "a", value: Buffer.alloc(0) }, entry.fields));
  return { timeline, etcd, ask, put };
}

test("no put carries an entry above a base of format 1, which older versions follow", async (t) => {
  const { timeline, ask, put } = await open(t, undefined);
  assert.equal(await ask(0), undefined);
  await timeline.log.requirePlacement();
  put((await ask(0))!);
  assert.equal(timeline.stats.carried, 1);
});

test("a lone put on the host carries its entry, and is sealed when its response is there", async (t) => {
  const { timeline, etcd, ask, put } = await open(t, "00000000000000aa");
  assert.equal(await ask(1), undefined, "not on another shard");
  const entry = await ask(0);
  put(entry!);
  assert.ok(timeline.isSealed(0, etcd.revision));
  assert.equal(timeline.head, 2);
});

test("puts of one turn on the host, and puts while another carries its entry, carry none", async (t) => {
  const { ask, put } = await open(t, "00000000000000aa");
  assert.deepEqual(await Promise.all([ask(0), ask(0), ask(0)]), [undefined, undefined, undefined]);
  await new Promise(setImmediate);
  const entry = await ask(0);
  assert.equal(await ask(0), undefined);
  put(entry!);
  const next = await ask(0);
  assert.ok(next !== undefined, "the next one does again");
  next.settle(undefined);
  assert.ok((await ask(0)) !== undefined, "also after a put without a response");
});

test("no put carries an entry while something waits for an append", async (t) => {
  const { timeline, ask } = await open(t, "00000000000000aa");
  const sealed = timeline.seal(1, 2, true);
  assert.equal(await ask(0), undefined);
  await sealed;
  const waiting = ask(0);
  // Proposed in the same turn, after the put has asked.
  const later = timeline.seal(1, 3, true);
  assert.equal(await waiting, undefined);
  await later;
});

test("a put that another proxy's entries come before waits for them, and proposes nothing", async (t) => {
  const { timeline, etcd, ask, put } = await open(t, "00000000000000aa");
  const entry = await ask(0);
  const other = { key: "\0braid/log/0000000000001/other/0", value: Buffer.from('{"p":[[1,2]]}') };
  etcd.put([other, { key: "\0braid/tail", value: Buffer.alloc(0) }]);
  put(entry!);
  const { revision } = etcd;
  assert.ok(!timeline.isSealed(0, revision));
  await timeline.seal(0, revision, true);
  assert.deepEqual([timeline.toRevision(1, 2), timeline.toRevision(0, revision)], [2, 3]);
  assert.equal(etcd.revision, revision, "nothing was appended");
});
