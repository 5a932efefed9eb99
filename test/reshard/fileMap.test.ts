import assert from "node:assert/strict";
import { test } from "node:test";
import type { Change } from "../../src/reshard/change.js";
import { judgeMap } from "../../src/reshard/fileMap.js";
import { neededShards } from "../../src/reshard/neededShards.js";
import { firstPlacement, Placement, type PlacementState } from "../../src/reshard/placement.js";
import { decodePlacement, encodePlacement } from "../../src/reshard/placementCodec.js";
import { mapText } from "../support/maps.js";

/* What a proxy makes of a placement: whether its file fits, and which shards it has to reach. */

const shard = (index: number) => ({ index, name: `s${index}`, endpoints: [], clusterId: `${index}`, cut: 1 });

class Store {
  readonly placement = new Placement(firstPlacement(mapText(2), [shard(0), shard(1)]));
  private position = 0;
  private mover = 0;
  private plans = 0;

  get state(): PlacementState {
    const state = this.placement.snapshot();
    // As a proxy reads it from a base.
    return decodePlacement(encodePlacement(state));
  }

  apply(change: Change): void {
    assert.ok(this.placement.apply(change, ++this.position, 100 + this.position), change.kind);
  }

  plan(map: string, ...shards: number[]): void {
    this.apply({ kind: "plan", after: this.plans++, map, shards: shards.map(shard) });
  }

  turnBack(): void {
    this.apply({ kind: "turn back", plan: this.plans++ });
  }

  /** Moves everything that is left to the map that the plan leads to. */
  finish(source: number, destination: number): void {
    this.apply({ kind: "claim" });
    this.mover = this.position;
    const { plan } = this.placement.snapshot();
    const to = plan!.up ? null : Buffer.alloc(0);
    this.apply({ kind: "freeze", mover: this.mover, plan: this.plans, cursor: plan!.cursor, to });
    const none = { twins: { shardRevisions: [], revisions: [] }, offsets: { lives: [], offsets: [] } };
    this.apply({
      kind: "move",
      mover: this.mover,
      freeze: this.position,
      sources: [{ shard: source, stop: 5 }],
      destinations: [{ shard: destination, ready: 5, ...none }],
      ended: [],
    });
    this.apply({ kind: "done", plan: this.plans });
  }

  judge(...maps: number[]): string[] {
    return maps.map((shards) => judgeMap(mapText(shards), this.state));
  }
}

test("a file may have the map in force, the coming one, or an earlier one", () => {
  const store = new Store();
  assert.deepEqual(store.judge(1, 2, 3), ["unknown", "in force", "unknown"]);
  store.plan(mapText(3), 2);
  assert.deepEqual(store.judge(1, 2, 3), ["unknown", "in force", "coming"]);
  store.finish(0, 2);
  assert.deepEqual(store.judge(1, 2, 3), ["unknown", "earlier", "in force"]);
  store.plan(mapText(4), 3);
  assert.deepEqual(store.judge(1, 2, 3, 4), ["unknown", "earlier", "in force", "coming"]);
  store.finish(0, 3);
  store.plan(mapText(2));
  assert.deepEqual(store.judge(2, 3, 4), ["coming", "earlier", "in force"]);
  store.finish(3, 0);
  assert.deepEqual(store.judge(1, 2, 3, 4), ["unknown", "in force", "earlier", "earlier"]);
  assert.deepEqual(store.state.earlier, [mapText(3), mapText(4)], "without the one in force");
});

test("the order of the shards in a file says nothing", () => {
  const reversed = (shards: number): string => {
    const map = JSON.parse(mapText(shards));
    return JSON.stringify({ ...map, shards: map.shards.reverse() });
  };
  const store = new Store();
  const judge = () => [2, 3, 4].map((shards) => judgeMap(reversed(shards), store.state));
  assert.deepEqual(judge(), ["in force", "unknown", "unknown"]);
  store.plan(mapText(3), 2);
  assert.deepEqual(judge(), ["in force", "coming", "unknown"]);
  store.finish(0, 2);
  assert.deepEqual(judge(), ["earlier", "in force", "unknown"]);
});

test("the map of a plan that was turned back is an earlier one", () => {
  const store = new Store();
  store.plan(mapText(3), 2);
  store.apply({ kind: "claim" });
  store.turnBack();
  assert.deepEqual(store.judge(2, 3), ["in force", "earlier"]);
  store.apply({ kind: "done", plan: 2 });
  assert.deepEqual(store.judge(2, 3), ["in force", "earlier"]);
});

test("the newest sixteen earlier maps are kept", () => {
  const store = new Store();
  const text = (n: number) => mapText(2).replace("{", `{"n":${n},`);
  for (let n = 0; n < 20; n++) {
    store.plan(text(n));
    store.finish(0, 1);
  }
  const { earlier, inForce } = store.state;
  assert.equal(inForce, text(19));
  assert.deepEqual(
    earlier,
    Array.from({ length: 16 }, (_, i) => text(i + 3)),
  );
});

test("a proxy reaches the shards of the current maps, and those of moves until a compaction has passed them", () => {
  const store = new Store();
  const needed = () => neededShards(store.state);
  assert.deepEqual(needed(), [0, 1]);
  store.plan(mapText(3), 2);
  assert.deepEqual(needed(), [0, 1, 2]);
  store.finish(0, 2);
  store.plan(mapText(1));
  store.finish(2, 0);
  assert.equal(store.state.inForce, mapText(1));
  const { moves } = store.state;
  assert.deepEqual(needed(), [0, 2], "shard 1 has taken part in no move");
  store.placement.compact(moves[1].revision + 1);
  assert.deepEqual(needed(), [0]);
  // The name of a shard that was replaced means the newest one.
  store.plan(mapText(2), 1);
  store.placement.snapshot().shards.push({ ...shard(3), name: "s1" });
  assert.deepEqual(needed(), [0, 3]);
});
