import assert from "node:assert/strict";
import { test } from "node:test";
import { START } from "../../src/reshard/bound.js";
import type { Change } from "../../src/reshard/change.js";
import { firstPlacement } from "../../src/reshard/placement.js";
import type { LeaseOp } from "../../src/timeline/entry.js";
import { Fold } from "../../src/timeline/fold.js";
import { StoreFold } from "../../src/timeline/storeFold.js";
import { mapText } from "../support/maps.js";

/** A store of two shards, from which a plan takes the second. */
function open() {
  const shards = [0, 1].map((index) => ({
    index,
    name: `s${index}`,
    endpoints: [],
    clusterId: `${index}`,
    cut: 1,
  }));
  const fold = StoreFold.of(-1, {
    timeline: Fold.genesis(2, -1).snapshot(),
    placement: firstPlacement(mapText(2), shards),
    positionOffset: 0,
  });
  let position = 0;
  const append = (leases: readonly LeaseOp[], change?: Change): number => {
    const entry = { reached: new Map(), compact: 0, leases, raftTerm: 0 };
    fold.apply(change === undefined ? entry : { ...entry, change }, ++position);
    return position;
  };
  const place = (lease: bigint, ...on: number[]) =>
    append(on.map((shard) => ({ kind: "place", lease, shard })));
  const placed = () => [...fold.placements].map(([lease, on]) => [lease, [...on]]);
  return { append, place, placed };
}

test("the end of a plan takes the parts of leases on shards that it removes, and no more come there", () => {
  const { append, place, placed } = open();
  place(7n, 1, 0);
  place(8n, 1);
  place(9n, 0);
  append([], { kind: "plan", after: 0, map: mapText(1), shards: [] });
  place(9n, 1);
  const mover = append([], { kind: "claim" });
  const freeze = append([], { kind: "freeze", mover, plan: 1, cursor: START, to: null });
  append([], { kind: "move", mover, freeze, sources: [], destinations: [], ended: [] });
  assert.deepEqual(placed(), [
    [7n, [1, 0]],
    [8n, [1]],
    [9n, [0, 1]],
  ]);
  append([], { kind: "done", plan: 1 });
  assert.deepEqual(placed(), [
    [7n, [0]],
    [9n, [0]],
  ]);
  // From a proxy that has not read of the end.
  place(7n, 1);
  place(8n, 1, 0);
  assert.deepEqual(placed(), [
    [7n, [0]],
    [9n, [0]],
    [8n, [0]],
  ]);
  append([], { kind: "plan", after: 1, map: mapText(2), shards: [] });
  place(7n, 1);
  assert.deepEqual(placed()[0], [7n, [0, 1]]);
});
