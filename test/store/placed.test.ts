import assert from "node:assert/strict";
import { test } from "node:test";
import { findContradictions } from "../../src/app/store/contradictions.js";
import type { Config } from "../../src/config/types.js";
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
  const clusterIds = ["10", "11"];
  const fold = StoreFold.of(0, {
    timeline: Fold.genesis(2, 0).snapshot(),
    placement: placementOf(mapText(2), clusterIds),
    positionOffset: 0,
  });
  fold.apply({ reached: new Map([[1, 30]]), compact: 0, leases: [], raftTerm: 0 }, 5);
  for (const [index, change] of changes.entries())
    fold.apply({ reached: new Map(), compact: 0, leases: [], raftTerm: 0, change }, 10 + index);
  const base = {
    format: 2 as const,
    epoch: 1,
    covers: 9,
    segmentParts: [],
    segmentsInParts: 0,
    generation: 1,
    prunedCount: 0,
    prunedAt: 0,
    map: "",
    clusterIds,
    store: STORE,
  };
  return encodeBase(base, fold.store, 2 ** 20, () => "").value;
}

/** Contradictions of a configuration with the first `count` shards. `revisions` and `ids` are those of the clusters. */
function contradictions(
  base: Uint8Array,
  count: number,
  revisions: number[],
  ids = ["10", "11", "12"],
): string[] {
  const names = Array.from({ length: count }, (_, index) => `s${index}`);
  const config = {
    map: parseMap(mapText(count)),
    shards: names.map((name) => ({ name, endpoints: [`${name}:1`] })),
    timeline: { kind: "shard", shard: 0 },
  } as unknown as Config;
  const clusters = names.map((name, index) => ({
    index,
    name,
    reading: {
      clusterId: ids[index],
      revision: revisions[index],
      marks: { marks: [{ store: STORE, name, index, host: HOST }], claims: [], revisions: [] },
      base: index === 0 ? base : undefined,
    },
  }));
  return findContradictions(config, mapText(count), clusters).map(({ message }) => message);
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
