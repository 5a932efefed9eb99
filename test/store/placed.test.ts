import assert from "node:assert/strict";
import { test } from "node:test";
import { findContradictions } from "../../src/app/store/contradictions.js";
import type { Config } from "../../src/config/types.js";
import { START } from "../../src/reshard/bound.js";
import type { Change } from "../../src/reshard/change.js";
import { parseMap } from "../../src/routing/fingerprint.js";
import { encodeBase, placementOf } from "../../src/timeline/base.js";
import { Fold } from "../../src/timeline/fold.js";
import { StoreFold } from "../../src/timeline/storeFold.js";
import { mapText } from "../support/maps.js";

/*
 * `braid check` reads a store's newest base. It must know the maps of a plan, and the shards by their index in the store.
 */

const STORE = "00000000000000ab";
const HOST = { name: "s0", clusterId: "10" };

/** The base of a store of the shards s0 and s1, after these changes. */
function baseAfter(...changes: Change[]): Uint8Array {
  return baseOf(2, ...changes);
}

function baseOf(format: 1 | 2, ...changes: Change[]): Uint8Array {
  const clusterIds = ["10", "11"];
  const fold = StoreFold.of(0, {
    timeline: Fold.genesis(2, 0).snapshot(),
    placement: placementOf(mapText(2), clusterIds),
    positionOffset: 0,
  });
  fold.apply({ reached: new Map([[1, 30]]), compact: 0, leases: [], raftTerm: 0 }, 5);
  for (const [index, change] of changes.entries()) {
    const entry = { reached: new Map(), compact: 0, leases: [], raftTerm: 0, change };
    assert.equal(fold.apply(entry, 10 + index).position, 10 + index, change.kind);
  }
  const base = {
    format,
    epoch: 1,
    covers: 9,
    segmentParts: [],
    segmentsInParts: 0,
    generation: 1,
    prunedCount: 0,
    prunedAt: 0,
    map: mapText(2),
    clusterIds,
    store: STORE,
  };
  return encodeBase(base, fold.store, 2 ** 20, () => "").value;
}

const IDS = ["10", "11", "12"];

/** Contradictions of a configuration with the first `count` shards. `revisions` and `ids` are those of the clusters. */
function contradictions(base: Uint8Array, count: number, revisions: number[], ids = IDS): string[] {
  const order = Array.from({ length: count }, (_, index) => index);
  return contradictionsOf(base, order, { revisions, ids });
}

/** Contradictions of a configuration with these shards in this order. What is of the clusters is by index in the store. */
function contradictionsOf(
  base: Uint8Array,
  order: readonly number[],
  { revisions = [40, 40, 40], ids = IDS, unread = [] as number[], unmarked = [] as number[] },
): string[] {
  const map = parseMap(mapText(order.length));
  const config = {
    map,
    shards: order.map((index) => ({ name: `s${index}`, endpoints: [`s${index}:1`] })),
    timeline: { kind: "shard", shard: order.indexOf(0) },
  } as unknown as Config;
  const clusters = order.map((index, place) => {
    const name = `s${index}`;
    const marks = unmarked.includes(index) ? [] : [{ store: STORE, name, index, host: HOST }];
    const reading = {
      clusterId: ids[index],
      revision: revisions[index],
      marks: { marks, claims: [], revisions: [] },
      base: index === 0 ? base : undefined,
    };
    return { index: place, name, reading: unread.includes(index) ? undefined : reading };
  });
  const shards = order.map((index) => ({ name: `s${index}`, weight: 1 }));
  const text = JSON.stringify({ ...JSON.parse(mapText(order.length)), shards });
  return findContradictions(config, text, clusters).map(({ message }) => message);
}

const PLAN: Change = {
  kind: "plan",
  after: 0,
  map: mapText(3),
  shards: [{ index: 2, name: "s2", endpoints: ["s2:1"], clusterId: "12", cut: 7 }],
};

test("without a plan, only the store's map fits", () => {
  const base = baseAfter();
  assert.deepEqual(contradictions(base, 2, [40, 40]), []);
  assert.match(contradictions(base, 3, [40, 40, 40]).join(), /another shard map: shard s2 is new/);
});

test("during a plan, both of its maps fit, also when it is turned back", () => {
  for (const changes of [[PLAN], [PLAN, { kind: "turn back", plan: 1 } as const]]) {
    const base = baseAfter(...changes);
    assert.deepEqual(contradictions(base, 2, [40, 40]), []);
    assert.deepEqual(contradictions(base, 3, [40, 40, 40]), []);
    assert.match(contradictions(base, 1, [40]).join(), /has another shard map: shard s1 is gone/);
  }
});

test("the clusters of shards that a plan added are compared, too", () => {
  const base = baseAfter(PLAN);
  assert.match(contradictions(base, 3, [40, 40, 40], ["10", "11", "13"]).join(), /13.*12|12.*13/);
  assert.match(contradictions(base, 3, [40, 40, 6]).join(), /is at revision 6, below 7/);
  assert.match(contradictions(base, 2, [40, 20]).join(), /is at revision 20, below 30/);
});

/** From s0 and s1 to s0 and s2. */
const REPLACED: Change[] = [
  { ...PLAN, map: JSON.stringify({ ...JSON.parse(mapText(2)), shards: [0, 2].map(entryOf) }) } as Change,
  { kind: "claim" },
  { kind: "freeze", mover: 11, plan: 1, cursor: START, to: null },
  { kind: "move", mover: 11, freeze: 12, sources: [], destinations: [], ended: [] },
  { kind: "done", plan: 1 },
];

function entryOf(index: number): object {
  return { name: `s${index}`, weight: 1 };
}

test("the order of the shards counts only until the first plan is prepared", () => {
  assert.match(
    contradictionsOf(baseOf(1), [1, 0], {}).join(),
    /shard "s1": .* is shard number 2 of this store, not 1/,
  );
  assert.deepEqual(contradictionsOf(baseOf(2), [1, 0], {}), []);
  assert.deepEqual(contradictionsOf(baseAfter(PLAN), [2, 0, 1], {}), []);
  assert.deepEqual(contradictionsOf(baseAfter(...REPLACED), [2, 0], {}), []);
  // While the host is down, nobody knows.
  assert.deepEqual(contradictionsOf(baseOf(1), [1, 0], { unread: [0] }), []);
});

test("in any order, each cluster is compared with its shard", () => {
  const base = baseAfter(PLAN);
  assert.match(
    contradictionsOf(base, [2, 1, 0], { revisions: [40, 20, 40] }).join(),
    /^shard "s1": .* below 30/,
  );
  assert.match(
    contradictionsOf(base, [2, 1, 0], { ids: ["10", "11", "13"] }).join(),
    /^shard "s2": .* cluster 13/,
  );
  assert.match(
    contradictionsOf(base, [1, 0, 2], { unmarked: [1] }).join(),
    /^shard "s1": .* carries no mark/,
  );
});

test("the cluster of a removed shard is not compared", () => {
  const base = baseAfter(...REPLACED);
  const said = contradictionsOf(base, [0, 1, 2], { unmarked: [1], ids: ["10", "99", "12"] });
  assert.deepEqual(said, ["this store has another shard map: shard s1 is new"]);
});
