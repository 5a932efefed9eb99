import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DEFAULT_OPTIONS } from "../../src/mover/options.js";
import { MoverError, type MoverShard, type Page, type PageRequest } from "../../src/mover/shard.js";
import { Survey } from "../../src/mover/survey.js";
import { readWindow } from "../../src/mover/windows.js";
import { START } from "../../src/reshard/bound.js";
import type { ShardMap } from "../../src/routing/map.js";
import type { ShardClient } from "../../src/shard/client.js";
import { CompactionRequest, type KeyValue, TxnRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { bytes, moverShard, put, Store, text } from "./support.js";

// What the mover reads, and how often.

const ONE: ShardMap = { shards: [{ name: "s0", weight: 1 }], rules: [] };
const BOTH: ShardMap = {
  shards: [
    { name: "s0", weight: 1 },
    { name: "s1", weight: 1 },
  ],
  rules: [{ prefix: bytes("/"), delimiter: 0x2f, segments: 1 }],
};
const GROUPS = 10;
const REVISIONS = 3;
const KEYS = 300;

let etcds: EtcdProcess[] = [];

before(async () => {
  etcds = await Promise.all([startEtcd(), startEtcd()]);
});
after(async () => {
  for (const etcd of etcds) await etcd.remove();
});

/** Transactions that put keys of all groups. */
async function fill(shard: ShardClient): Promise<void> {
  for (let revision = 0; revision < REVISIONS; revision++) {
    const success = Array.from({ length: KEYS / REVISIONS }, (_, i) => ({
      kind: "put" as const,
      request: { key: bytes(`/${i % GROUPS}/${i}-${revision}`), value: bytes("x") },
    }));
    await shard.call(KV.Txn, TxnRequest.encode({ success }), { idempotent: false });
  }
}

test("a step reads the keys of its source twice, and keys of one revision share a transaction", async () => {
  const store = await Store.open(ONE, etcds, ([shard]) => fill(shard));
  const before = await store.seen();
  await store.log.plan(BOTH);
  const read = [0, 0];
  const imports = [0, 0];
  const wrap = (shard: MoverShard, index: number): MoverShard =>
    Object.assign(Object.create(shard) as MoverShard, {
      range: async (request: PageRequest) => {
        const page = await shard.range(request);
        if (request.keysOnly !== true && page.kvs.every(({ key }) => text(key).startsWith("/")))
          read[index] += page.kvs.length;
        return page;
      },
      txn: (txn: Parameters<MoverShard["txn"]>[0]) => {
        if (txn.ops.some(({ kind }) => kind === "put")) imports[index]++;
        return shard.txn(txn);
      },
    });
  await store.mover({ pageKeys: 20 }, [], undefined, wrap).run();
  assert.deepEqual(await store.seen(), before);
  const moved = [...before.keys()].filter((key) => store.log.locator.shardOf(bytes(key)) === 1).length;
  assert.ok(moved > 0 && moved < KEYS);
  assert.deepEqual(read, [2 * KEYS, moved], "to copy, and to compare");
  assert.deepEqual(imports, [0, REVISIONS]);
  store.close();
});

test("what a survey read before a compaction is of one revision, and it goes on after it", async () => {
  const store = await Store.open(ONE, etcds, async ([shard]) => {
    for (let i = 0; i < 40; i++) await put(shard, `/${i % GROUPS}/survey ${i}`, "1");
  });
  await store.log.plan(BOTH);
  const [source] = store.shards;
  const revision = await moverShard(source).revision();
  let pages = 0;
  const shard = Object.assign(Object.create(moverShard(source)) as MoverShard, {
    range: async (request: PageRequest) => {
      if (++pages === 3) {
        const newest = await put(source, "/0/survey 0", "2");
        await source.call(KV.Compact, CompactionRequest.encode({ revision: newest }), { idempotent: true });
      }
      return moverShard(source).range(request);
    },
  });
  const survey = new Survey(store.log, () => shard, { ...DEFAULT_OPTIONS, pageKeys: 16 });
  const { end, read } = await survey.next(store.log.placement.plan!);
  assert.equal(end, null, "the rest is one step");
  const window = read.get(0)!;
  assert.equal(window.revision, revision);
  assert.ok(window.kvs.length > 0 && window.next !== undefined, "the window ends where the compaction came");
  const held = await moverShard(source).range({ from: START, to: window.next!, limit: 1_000 });
  assert.deepEqual(
    window.kvs.map(({ key }) => text(key)),
    held.kvs.map(({ key }) => text(key)),
  );
  store.close();
});

test("a plan ends although its source is compacted between what chooses a step and its begin, each time", {
  timeout: 60_000,
}, async () => {
  const store = await Store.open(ONE, etcds, async ([shard]) => {
    for (let i = 0; i < 40; i++) await put(shard, `/${i % GROUPS}/compacted ${i}`, "1");
  });
  await store.log.plan(BOTH);
  const [source] = store.shards;
  let compactions = 0;
  const wrap = (shard: MoverShard, index: number): MoverShard =>
    Object.assign(Object.create(shard) as MoverShard, {
      raiseGen: async (position: number) => {
        if (index === 1) {
          await put(source, "/0/compacted 0", "2");
          const revision = await put(source, "/0/compacted 0", `${++compactions}`);
          await source.call(KV.Compact, CompactionRequest.encode({ revision }), { idempotent: true });
        }
        return shard.raiseGen(position);
      },
    });
  await store.mover({}, [], undefined, wrap).run();
  assert.equal(store.log.placement.plan, undefined);
  assert.ok(compactions > 2);
  store.close();
});

test("a window is full with the keys of a step, and ends early where its revision is compacted", async () => {
  const keys = Array.from({ length: 30 }, (_, i) => String(i).padStart(2, "0"));
  const revisions: number[] = [];
  let compacted = Number.POSITIVE_INFINITY;
  const read = async (from: Uint8Array | null, revision: number): Promise<Page> => {
    revisions.push(revision);
    if (revisions.length >= compacted) throw new MoverError("compacted", "compacted");
    const rest = keys.filter((key) => key >= text(from!));
    const kvs = rest.slice(0, 5).map((key) => ({ key: bytes(key), value: bytes("v") }) as KeyValue);
    return { kvs, more: rest.length > 5, revision: 70 + revisions.length };
  };
  const isEven = (key: Uint8Array) => Number(text(key)) % 2 === 0;
  const windowFrom = (from: string, keys: number) =>
    readWindow(read, bytes(from), isEven, { keys, bytes: 1_000 });
  const full = await windowFrom("00", 7);
  assert.deepEqual(
    full.kvs.map(({ key }) => text(key)),
    ["00", "02", "04", "06", "08", "10", "12", "14"],
  );
  assert.deepEqual([full.revision, text(full.next!).slice(0, 2)], [71, "14"]);
  assert.deepEqual(revisions, [0, 71, 71]);
  revisions.length = 0;
  compacted = 2;
  const early = await windowFrom("20", 7);
  assert.deepEqual(
    early.kvs.map(({ key }) => text(key)),
    ["20", "22", "24"],
  );
  assert.equal(text(early.next!).slice(0, 2), "24");
  compacted = Number.POSITIVE_INFINITY;
  assert.equal((await windowFrom("25", 7)).next, undefined);
  compacted = 1;
  revisions.length = 0;
  await assert.rejects(windowFrom("00", 7), MoverError);
});
