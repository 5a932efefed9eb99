import assert from "node:assert/strict";
import { test } from "node:test";
import { START } from "../../src/reshard/bound.js";
import type { Change, PlanShard } from "../../src/reshard/change.js";
import { Locator } from "../../src/reshard/locator.js";
import { Maps } from "../../src/reshard/maps.js";
import { firstPlacement } from "../../src/reshard/placement.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { Hasher } from "../../src/routing/hash.js";
import { Fold } from "../../src/timeline/fold.js";
import { StoreFold } from "../../src/timeline/storeFold.js";
import { NO_SHARD } from "../../src/timeline/view.js";

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const NONE = new Uint8Array(0);
const KEY = { key: bytes("/a/x"), end: NONE };
const shard = (index: number): PlanShard => ({
  index,
  name: `s${index}`,
  endpoints: [],
  clusterId: String(index),
  cut: 1,
});
const mapOf = async (name: string): Promise<string> =>
  (await fingerprint({ shards: [{ name, weight: 1 }], rules: [] })).text;

/** A store of one shard whose keys all move to a second one. Source 0 stops at 4, destination 1 is ready at 6. */
async function open() {
  const [first, second] = [await mapOf("s0"), await mapOf("s1")];
  const fold = StoreFold.of(-1, {
    timeline: Fold.genesis(1, -1).snapshot(),
    placement: firstPlacement(first, [shard(0)]),
    positionOffset: 0,
  });
  const locator = new Locator(fold.placement, new Maps(await Hasher.load()), fold);
  let position = 10;
  const append = (reached: [number, number][], change?: Change): boolean => {
    const entry = { reached: new Map(reached), compact: 0, leases: [], raftTerm: 0 };
    return fold.apply(change === undefined ? entry : { ...entry, change }, ++position).position > 0;
  };
  append([[0, 3]]); // The source's 2 and 3 become revisions 2 and 3.
  assert.ok(append([], { kind: "plan", after: 0, map: second, shards: [shard(1)] }));
  assert.ok(append([], { kind: "claim" }));
  const mover = position;
  assert.ok(append([], { kind: "freeze", mover, plan: 1, cursor: START, to: null }));
  const freeze = position;
  const move = (): boolean =>
    append(
      [
        [0, 5],
        [1, 8],
      ],
      {
        kind: "move",
        mover,
        freeze,
        sources: [{ shard: 0, stop: 4 }],
        destinations: [
          {
            shard: 1,
            ready: 6,
            twins: { shardRevisions: [5, 6], revisions: [2, 3] },
            offsets: { lives: [5], offsets: [1] },
          },
        ],
        ended: [bytes("/b")],
      },
    );
  return { fold, locator, move, append };
}

test("calls to a frozen step wait, and nothing of it is decided above the freeze", async () => {
  const { locator, move } = await open();
  assert.equal(locator.shardOf(KEY.key), 0);
  assert.ok(locator.isFrozen(KEY));
  assert.equal(locator.decidedUntil(KEY), 3);
  assert.equal(locator.compactionAt(3), 3);
  assert.equal(locator.compactionAt(4), 3, "a feed from 5 on reads the shards from 4 on");
  assert.equal(locator.feedFrom(9), 4);
  assert.ok(!locator.isFrozen({ key: bytes("\0gen"), end: NONE }), "keys of the proxies never move");
  assert.ok(move());
  assert.ok(!locator.isFrozen(KEY));
  assert.equal(locator.shardOf(KEY.key), 1);
});

test("below M the source holds the key up to its stop, from M on the destination", async () => {
  const { fold, locator, move } = await open();
  move();
  // Revisions 4 and 5 belong to the source, 6 to 12 to the destination. M follows.
  const M = 13;
  assert.equal(fold.head, M);
  assert.deepEqual(fold.runAt(M), { revision: M, shard: NO_SHARD, shardRevision: 0, length: 1 });
  assert.deepEqual(locator.holder(KEY.key, 3), { shard: 0, at: 3 });
  assert.deepEqual(locator.holder(KEY.key, 12), { shard: 0, at: 4 }, "not the source's state after its stop");
  assert.deepEqual(locator.holder(KEY.key, M), { shard: 1, at: 8 });
  const all = { key: bytes("/"), end: bytes("0") };
  const holders = locator.holders(all, 12);
  assert.deepEqual(locator.choose(holders, KEY.key, 12), { shard: 0, at: 4 });
});

test("an event counts for the owner at its revision, the end of a lease between ready and M at M", async () => {
  const { locator, move } = await open();
  move();
  const counts = (index: number, shardRevision: number, revision: number) =>
    locator.countsAt(KEY.key, index, shardRevision, revision);
  assert.equal(counts(0, 4, 4), 4);
  assert.equal(counts(0, 5, 5), undefined, "above the stop");
  assert.equal(counts(1, 6, 10), undefined, "an import");
  assert.equal(counts(1, 7, 11), 13);
  assert.equal(counts(1, 9, 14), 14);
  assert.equal(counts(0, 6, 15), undefined, "the mover cleans the source");
  assert.deepEqual(locator.endsAt(13), [{ key: bytes("/b"), holder: { shard: 0, at: 4 } }]);
  assert.equal(locator.feedFrom(13), 4);
  assert.equal(locator.feedFrom(14), 14);
  for (const revision of [4, 13]) assert.equal(locator.compactionAt(revision), 3);
  assert.equal(locator.compactionAt(14), 14);
});

test("imports map to the revisions of their twins, and back", async () => {
  const { fold, move } = await open();
  move();
  assert.equal(fold.toRevision(1, 5), 2);
  assert.equal(fold.toRevision(1, 7), 11);
  assert.deepEqual(fold.shardRevisionsOf(3, 1), [6]);
  assert.deepEqual(fold.shardRevisionsOf(3, 0), [3]);
  assert.deepEqual(fold.shardRevisionsOf(11, 1), [7]);
});

test("positions keep rising on the next host, and the log's own writes there get no revision", async () => {
  const { fold, move } = await open();
  move();
  const next = fold.rehosted(1, 20);
  assert.ok(next.positionOf(1) > fold.positionOf(20));
  next.hide(9);
  next.apply({ reached: new Map([[1, 10]]), compact: 0, leases: [], raftTerm: 0 }, 11);
  assert.equal(next.head, 14, "9 is the log's own write");
});

test("a fold without a placement refuses placement changes", () => {
  const fold = Fold.genesis(1, -1);
  const entry = {
    reached: new Map(),
    compact: 0,
    leases: [],
    raftTerm: 0,
    change: { kind: "claim" } as const,
  };
  assert.throws(() => fold.apply(entry, 5), /can not follow/);
});
