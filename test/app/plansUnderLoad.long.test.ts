import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { newSeed } from "../watch/random.js";
import { EtcdClient, EVERYTHING } from "../watch/support.js";
import { type Growing, withStore } from "./growing.js";
import { Load } from "./load.js";

/*
 * Plans of other kinds than `reshard.long.test.ts` has, under load. All that clients see is compared with a plain etcd.
 */

/** Pause between two compactions of a shard by itself. */
const COMPACTION_INTERVAL_MS = 50;

/**
 * Runs `body` in a store of two shards and one more etcd, while clients of two proxies are at work. Resolves to the number of
 * keys on each etcd at the end.
 */
async function underLoad(
  name: string,
  timeline: "shard" | "dedicated",
  body: (store: Growing, load: Load, etcds: readonly EtcdProcess[]) => Promise<void>,
): Promise<number[]> {
  let places: number[] = [];
  const plain = await startEtcd();
  await withStore(timeline, async (store, etcds) => {
    const addresses = [(await store.proxy()).address, (await store.proxy()).address];
    const load = new Load(newSeed(name));
    try {
      // Without previous keys: a shard that compacts itself loses those, as an etcd does.
      for (const address of addresses) await load.watch(address, "/", false);
      for (let i = 0; i < 6; i++) load.start(addresses[i % 2]!);
      await load.more(100);
      await body(store, load, etcds);
      await load.more(100);
      await load.compare(plain, addresses);
      places = await store.checkPlaces();
    } finally {
      load.close();
    }
  }).finally(() => plain.remove());
  return places;
}

/** Compacts each etcd at its own newest revision, again and again, until `isOver`. */
async function compactThemselves(etcds: readonly EtcdProcess[], isOver: () => boolean): Promise<void> {
  const clients = etcds.map(({ endpoint }) => ({ client: new EtcdClient(endpoint), compacted: 1 }));
  while (!isOver()) {
    for (const each of clients) {
      const { revision } = (await each.client.range({ ...EVERYTHING, limit: 1 })).header!;
      if (revision > each.compacted) await each.client.compact({ revision });
      each.compacted = revision;
    }
    await setTimeout(COMPACTION_INTERVAL_MS);
  }
  for (const { client } of clients) client.close();
}

test("shards that compact themselves at their newest revision do not disturb a plan", async () => {
  const [removed] = await underLoad("shards that compact", "dedicated", async (store, load, etcds) => {
    let isOver = false;
    const compacting = compactThemselves(etcds, () => isOver);
    try {
      await store.done(await store.plan([0, 1, 2]));
      await load.more(100);
      await store.done(await store.plan([1, 2]));
    } finally {
      isOver = true;
      await compacting;
    }
  });
  assert.equal(removed, 0, "the removed shard is empty");
});

test("a shard is replaced by another cluster in one plan", async () => {
  const [, removed, added] = await underLoad("a shard is replaced", "shard", async (store) => {
    await store.done(await store.plan([0, 2]));
  });
  assert.equal(removed, 0, "the removed shard is empty");
  assert.ok(added! > 0, "the new one has keys");
});

test("rules become finer and coarser again", async () => {
  await underLoad("finer and coarser rules", "dedicated", async (store, load) => {
    /** Groups of the default rules that have keys on both shards. */
    const split = async () => {
      const [one, two] = await Promise.all([0, 1].map((index) => store.keysOn(index)));
      const groups = new Set(one!.map((key) => key.split("/")[1]));
      return two!.filter((key) => groups.has(key.split("/")[1])).length;
    };
    await store.done(await store.plan([0, 1], { default: { segments: 2 } }));
    assert.ok((await split()) > 0, "directories of a group are on different shards");
    await load.more(100);
    await store.done(await store.plan([0, 1], { default: { segments: 1 } }));
    assert.equal(await split(), 0, "groups are together again");
  });
});
