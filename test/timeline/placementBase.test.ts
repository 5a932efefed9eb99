import assert from "node:assert/strict";
import { test } from "node:test";
import { START } from "../../src/reshard/bound.js";
import type { Change } from "../../src/reshard/change.js";
import { decodeImports, encodeImports } from "../../src/reshard/importsCodec.js";
import { OffsetTable } from "../../src/reshard/offsets.js";
import { encodePlacement } from "../../src/reshard/placementCodec.js";
import { TwinTable } from "../../src/reshard/twins.js";
import { Code, type StatusError } from "../../src/status/error.js";
import {
  decodeBase,
  decodeBaseHead,
  encodeBase,
  encodeSegments,
  placementOf,
} from "../../src/timeline/base.js";
import { planBase } from "../../src/timeline/basePlan.js";
import { Fold } from "../../src/timeline/fold.js";
import { StoreFold, type StoreState } from "../../src/timeline/storeFold.js";
import { mapText } from "../support/maps.js";
import { Random } from "./sim/scheduler.js";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
console.log(`seed ${seed}`);

const SIZES = { segments: 8, imports: 10, bytes: 200 };
const SHARDS = 2;

/** A fold, and the bases that its proxies write for it. */
class Store {
  fold = StoreFold.of(-1, {
    timeline: Fold.genesis(SHARDS, -1).snapshot(),
    placement: placementOf(mapText(SHARDS), ["1", "2"]),
    positionOffset: 1_000,
  });
  /** Part key → value, as the host stores them. */
  readonly parts = new Map<string, Uint8Array>();
  base: Uint8Array;
  private at = 10;
  private counter = 0;
  private imports = 100;

  constructor() {
    const base = {
      format: 1 as const,
      epoch: 1,
      covers: 0,
      segmentParts: [],
      segmentsInParts: 0,
      generation: 1,
      prunedCount: 0,
      prunedAt: 0,
      map: mapText(SHARDS),
      clusterIds: ["1", "2"],
    };
    this.base = encodeBase(base, this.fold.store, SIZES.bytes, () => "").value;
  }

  /** Applies an entry; returns its position if its change was valid, otherwise 0. */
  apply(change?: Change, reached: [number, number][] = []): number {
    const entry = { reached: new Map(reached), compact: 0, leases: [], raftTerm: 0 };
    return this.fold.apply(change === undefined ? entry : { ...entry, change }, ++this.at).position;
  }

  /** Moves a step from the cursor up to `to`, with `count` imports on a random shard. */
  move(random: Random, to: Uint8Array | null, count: number): void {
    const mover = this.apply({ kind: "claim" });
    const { number, cursor } = this.fold.store.placement.plan!;
    const freeze = this.apply({ kind: "freeze", mover, plan: number, cursor, to });
    const numbers = Array.from({ length: count }, () => {
      this.imports += 1 + random.below(3);
      return this.imports;
    });
    const twins = { shardRevisions: numbers, revisions: numbers.map(() => 1 + random.below(99)) };
    const some = numbers.filter(() => random.chance(0.3));
    const offsets = { lives: some, offsets: some.map(() => 1 + random.below(9)) };
    const sources = [{ shard: 0, stop: 5 }];
    const destinations = [{ shard: random.below(3), ready: 9, twins, offsets }];
    assert.ok(this.apply({ kind: "move", mover, freeze, sources, destinations, ended: [Buffer.from("/x")] }));
  }

  /** Writes the next base. Returns the keys of its new parts. */
  write(change: Parameters<typeof planBase>[0]["change"] = {}): string[] {
    const { base } = this.decode();
    const plan = planBase({
      base,
      guard: this.at,
      covers: this.at,
      state: this.fold.store,
      parts: new Map([...this.parts.keys()].map((key) => [key, 1])),
      firstNeededEpoch: base.epoch,
      sizes: SIZES,
      newPart: () => `part${this.counter++}`,
      change,
    });
    for (const { key, value } of plan.parts) this.parts.set(key, value);
    for (const { key } of plan.deletes) this.parts.delete(Buffer.from(key).toString("latin1"));
    this.base = plan.value;
    return plan.parts.map(({ key }) => key);
  }

  decode() {
    return decodeBase(this.base, (key) => this.parts.get(key));
  }
}

/** Everything in a fold's state, to compare it. */
function described({ timeline, placement, positionOffset }: StoreState): unknown {
  const { table, ...rest } = timeline;
  return {
    ...rest,
    cut: [...rest.cut],
    table: encodeSegments(table, 0, table.count).toString("hex"),
    placement: encodePlacement(placement),
    imports: encodeImports(placement, []).bytes.toString("hex"),
    positionOffset,
  };
}

const PLAN: Change = {
  kind: "plan",
  after: 0,
  map: mapText(3),
  shards: [{ index: 2, name: "s2", endpoints: ["x:1"], clusterId: "3", cut: 7 }],
};

test("a base of format 2 holds what was folded, whatever is in parts", () => {
  const random = new Random(seed);
  for (let round = 0; round < 60; round++) {
    const store = new Store();
    store.apply(undefined, [
      [0, 9],
      [1, 4],
    ]);
    store.write({ format: 2 });
    assert.ok(store.apply(PLAN));
    for (let n = random.below(9); n > 0; n--) {
      store.apply(undefined, [[random.below(3), 20 + random.below(50)]]);
      store.move(random, Uint8Array.of(200 - n), random.pick([0, 1, 7, 25]));
      if (random.chance(0.3)) store.write();
      if (random.chance(0.2)) {
        const { table, compactRevision } = store.fold.snapshot();
        const { twins, offsets } = store.fold.store.placement;
        store.write({ pruned: { table, at: compactRevision, imports: { twins, offsets } } });
      }
    }
    store.write();
    const { base, state } = store.decode();
    assert.deepEqual(described(state), described(store.fold.store));
    assert.deepEqual(base.placement?.shards, ["s0", "s1", "s2"]);
    assert.deepEqual([base.map, base.placement?.otherMap], [mapText(2), mapText(3)]);
    assert.deepEqual(base.clusterIds, ["1", "2", "3"]);
    // A fold from the base continues in the same way.
    store.fold = StoreFold.of(-1, state);
    const { plan } = state.placement;
    assert.ok(store.apply({ kind: "turn back", plan: plan!.number }));
  }
});

test("parts are written once, and deleted when no base names them", () => {
  const random = new Random(seed);
  const store = new Store();
  store.write({ format: 2 });
  store.apply(PLAN);
  store.move(random, Uint8Array.of(50), 45);
  store.write();
  const { importParts } = store.decode().base.placement!;
  assert.ok(importParts.length >= 4, "45 twins in parts of 10");
  for (const key of importParts) {
    const part = { twins: new TwinTable(), offsets: new OffsetTable() };
    decodeImports(store.parts.get(key)!, part);
    assert.equal(part.twins.count + part.offsets.count, SIZES.imports);
  }
  store.move(random, Uint8Array.of(90), 2);
  const added = store.write();
  assert.deepEqual(store.decode().base.placement!.importParts.slice(0, importParts.length), importParts);
  for (const key of importParts) assert.ok(!added.includes(key));
  // Pruned twins leave, and the parts with them.
  const { timeline, placement } = store.fold.store;
  const imports = { twins: new TwinTable(), offsets: placement.offsets };
  store.write({ pruned: { table: timeline.table, at: 1, imports } });
  for (const key of importParts) assert.ok(!store.parts.has(key), "the part is deleted");
  assert.equal(store.decode().state.placement.twins.count, 0);
  assert.equal(store.decode().state.placement.offsets.count, placement.offsets.count);
});

test("a base without one of its parts is refused", () => {
  const store = new Store();
  store.write({ format: 2 });
  store.apply(PLAN);
  store.move(new Random(seed), Uint8Array.of(50), 25);
  store.write();
  const [part] = store.decode().base.placement!.importParts;
  store.parts.delete(part);
  assert.throws(
    () => store.decode(),
    ({ code }: StatusError) => code === Code.DATA_LOSS,
  );
});

test("a base of format 1 has no placement, and the next one keeps the format", () => {
  const store = new Store();
  const json = () =>
    JSON.parse(Buffer.from(store.base).toString("utf8", 4, 4 + Buffer.from(store.base).readUInt32BE(0)));
  store.write();
  assert.equal(json().format, 1);
  for (const field of ["placement", "keyPlacementBytes", "importBytes", "positionOffset"])
    assert.ok(!(field in json()), field);
  const { placement, positionOffset } = store.decode().state;
  assert.equal(encodePlacement(placement), encodePlacement(placementOf(mapText(2), ["1", "2"])));
  assert.equal(positionOffset, 0);
  // What an older version checks.
  store.write({ format: 2 });
  assert.equal(json().format, 2);
  store.write();
  assert.equal(json().format, 2);
});

test("a base of an unknown format is refused", () => {
  const text = Buffer.from(JSON.stringify({ format: 4 }));
  const value = Buffer.concat([Buffer.from([0, 0, 0, text.length]), text]);
  for (const decode of [decodeBaseHead, (bytes: Uint8Array) => decodeBase(bytes, () => undefined)]) {
    assert.throws(
      () => decode(value),
      ({ code, message }: StatusError) =>
        code === Code.FAILED_PRECONDITION && /has format 4; .* supports formats 0 to 3/.test(message),
    );
  }
});

test("a cluster that was adopted has its new id in the fold and in the base", () => {
  const store = new Store();
  store.write({ format: 2 });
  store.apply(PLAN);
  store.write();
  const before = store.decode().base;
  store.write({ clusterIds: ["1", "9", "3"] });
  const { base, state } = store.decode();
  assert.deepEqual(base.clusterIds, ["1", "9", "3"]);
  // A proxy that follows the log has only the head of the new base.
  store.fold.identify(before.clusterIds, base.clusterIds);
  assert.deepEqual(described(state), described(store.fold.store));
  assert.equal(store.fold.store.placement.shards[1]?.clusterId, "9");
  assert.deepEqual(START, state.placement.plan?.cursor);
});

test("bases record the endpoints of the first shards, and those that are known stay", () => {
  const store = new Store();
  const endpoints = new Map([
    ["s0", ["a:1"]],
    ["s1", ["b:1", "b:2"]],
    ["s2", ["other:1"]],
  ]);
  const known = [["a:1"], ["b:1", "b:2"], ["x:1"]];
  store.write({ endpoints });
  assert.deepEqual(store.decode().state.placement.shards[0]!.endpoints, [], "format 1 has no place for them");
  store.write({ format: 2, endpoints });
  store.fold.learnEndpoints(store.decode().base.placement!.endpoints);
  assert.deepEqual(described(store.decode().state), described(store.fold.store));
  store.apply(PLAN);
  store.fold.learnEndpoints([["other:1"], [], ["other:1"]]);
  store.write({ endpoints: new Map([["s0", ["other:1"]]]) });
  const { base, state } = store.decode();
  assert.deepEqual(base.placement!.endpoints, known);
  assert.deepEqual(
    state.placement.shards.map((shard) => shard.endpoints),
    known,
  );
});
