import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { START } from "../../src/reshard/bound.js";
import type { Change } from "../../src/reshard/change.js";
import { compactedAt } from "../../src/timeline/compacted.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { bytes } from "./model.js";
import { openProxy, type TestProxy } from "./pair.js";

let etcds: EtcdProcess[];
let proxy: TestProxy;

before(async () => {
  etcds = await startEtcds(3);
  proxy = await openProxy(etcds);
});

after(async () => {
  proxy?.stop();
  await Promise.all(etcds.map((etcd) => etcd.remove()));
});

test("a compaction spares what a frozen step needs, and the next one does not", async () => {
  const { ask, store } = proxy;
  const { timeline } = store;
  const propose = async (change: Change): Promise<number> => {
    const position = await timeline.proposeChange(change);
    assert.ok(position !== undefined);
    return position;
  };
  const put = async (key: string) => {
    const { header } = await ask("put", { key: bytes(key), value: bytes("v") });
    return header!.revision;
  };
  const compacted = () => Promise.all(store.shards.all().map((shard) => compactedAt(shard, systemRuntime)));
  const lastAt = (revision: number) => [0, 1, 2].map((shard) => timeline.lastAt(revision, shard));
  for (const key of ["a1", "b1", "c1", "a1", "b1", "c1"]) await put(key);
  await propose({ kind: "plan", after: 0, map: timeline.placement.inForce, shards: [] });
  const mover = await propose({ kind: "claim" });
  const freeze = await propose({ kind: "freeze", mover, plan: 1, cursor: START, to: Uint8Array.of(2) });
  const frozenAt = timeline.head;
  await put("a1");
  const newest = await put("b1");
  await ask("compact", { revision: newest, physical: true });
  assert.equal(timeline.compactRevision, newest);
  assert.deepEqual(await compacted(), lastAt(frozenAt));
  await assert.rejects(ask("range", { key: bytes("a1"), revision: newest - 1 }), /has been compacted/);
  await propose({ kind: "thaw", mover, freeze });
  const last = await put("a1");
  await ask("compact", { revision: last, physical: true });
  assert.deepEqual(await compacted(), lastAt(last));
});
