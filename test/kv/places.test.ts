import assert from "node:assert/strict";
import { test } from "node:test";
import { START } from "../../src/reshard/bound.js";
import type { Change } from "../../src/reshard/change.js";
import { Locator } from "../../src/reshard/locator.js";
import { LocatorRouter } from "../../src/reshard/locatorRouter.js";
import { firstPlacement } from "../../src/reshard/placement.js";
import { decodePlacement, encodePlacement } from "../../src/reshard/placementCodec.js";
import { Places } from "../../src/services/kv/places.js";
import { Code, type StatusError } from "../../src/status/error.js";
import { Fold } from "../../src/timeline/fold.js";
import { StoreFold } from "../../src/timeline/storeFold.js";
import type { Timeline } from "../../src/timeline/view.js";
import { mapText, newMaps } from "../support/maps.js";
import { bytes } from "./model.js";
import { TestCall } from "./pair.js";

const ALONE = new Uint8Array(0);
const ALL = { key: bytes("\x01"), rangeEnd: bytes("\0") };
const shard = (index: number) => ({ index, name: `s${index}`, endpoints: [], clusterId: `${index}`, cut: 1 });

/** A store of one shard that gets a second one, by hand. */
function open(requestTimeoutMs = 60_000) {
  const fold = StoreFold.of(-1, {
    timeline: Fold.genesis(1, -1).snapshot(),
    placement: firstPlacement(mapText(1), [shard(0)]),
    positionOffset: 0,
  });
  const locator = new Locator(fold.placement, newMaps(), fold);
  const listeners = new Set<() => void>();
  const timeline = {
    locator,
    get placement() {
      return fold.placement.snapshot();
    },
    get placementPosition() {
      return fold.placement.snapshot().position;
    },
    get compactRevision() {
      return fold.compactRevision;
    },
    onAdvance(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  } as unknown as Timeline;
  let position = 10;
  const append = (reached: readonly (readonly [number, number])[], change?: Change): number => {
    const entry = { reached: new Map(reached), compact: 0, leases: [], raftTerm: 0 };
    fold.apply(change === undefined ? entry : { ...entry, change }, ++position);
    for (const listener of [...listeners]) listener();
    return position;
  };
  return { fold, timeline, append, listeners, places: new Places(timeline, { requestTimeoutMs }) };
}

/** Starts a plan to two shards and freezes all keys. */
function freeze({ append }: ReturnType<typeof open>): { mover: number; freeze: number } {
  append([[0, 3]], { kind: "plan", after: 0, map: mapText(2), shards: [shard(1)] });
  const mover = append([], { kind: "claim" });
  return { mover, freeze: append([], { kind: "freeze", mover, plan: 1, cursor: START, to: null }) };
}

/** A key that moves to the second shard. */
function movedKey(): Uint8Array {
  const router = newMaps().router(mapText(2), [shard(0), shard(1)]);
  const name = Array.from({ length: 50 }, (_, i) => `k${i}`).find(
    (each) => router.shardOf(bytes(each)) === 1,
  );
  return bytes(name!);
}

const move = (mover: number, at: number): Change => ({
  kind: "move",
  mover,
  freeze: at,
  sources: [{ shard: 0, stop: 4 }],
  destinations: [
    {
      shard: 1,
      ready: 3,
      twins: { shardRevisions: [3], revisions: [2] },
      offsets: { lives: [], offsets: [] },
    },
  ],
  ended: [],
});

test("a call waits while its key moves, and no longer", () => {
  const store = open();
  const { places, append, listeners } = store;
  const at = freeze(store);
  const range = { key: movedKey(), rangeEnd: ALONE };
  const call = new TestCall("/x");
  const done: unknown[] = [];
  places.whenThawed(call, { key: bytes("\0reserved"), rangeEnd: ALONE }, (error) =>
    done.push("other", error),
  );
  assert.deepEqual([...done], ["other", undefined]);
  places.whenThawed(call, range, (error) => done.push("moved", error));
  append([[0, 4]]);
  assert.deepEqual([...done], ["other", undefined]);
  append([], move(at.mover, at.freeze));
  assert.deepEqual([...done], ["other", undefined, "moved", undefined]);
  assert.equal(listeners.size, 0);
  assert.equal(call.waiting, 0);
});

test("a call that waits ends when its client cancels, and after the request timeout", async () => {
  const store = open(20);
  freeze(store);
  const range = { key: movedKey(), rangeEnd: ALONE };
  const cancelled = new TestCall("/x");
  const waits = [
    store.places.untilThawed(cancelled, range),
    store.places.untilThawed(new TestCall("/x"), range),
  ];
  waits.push(store.places.untilThawed(new TestCall("/x", Date.now() + 5), range));
  const codes = Promise.all(waits.map((wait) => wait.catch((error: StatusError) => error.code)));
  cancelled.cancel();
  assert.deepEqual(await codes, [Code.CANCELLED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED]);
  assert.equal(store.listeners.size, 0);
});

test("a response from before a move is valid only as far as the source's stop", () => {
  const store = open();
  const { places, append, fold } = store;
  const { position } = places;
  const range = { key: movedKey(), rangeEnd: ALONE };
  assert.ok(places.mayAnswer(position, range, 0, 3, 3), "nothing has changed");
  const at = freeze(store);
  const frozenAt = fold.head;
  assert.ok(places.mayAnswer(position, range, 0, 3, frozenAt));
  assert.ok(!places.mayAnswer(position, range, 0, 3, frozenAt + 1), "not decided yet");
  append([[0, 6]]);
  const revision = fold.head;
  append([[1, 3]], move(at.mover, at.freeze));
  assert.ok(places.mayAnswer(position, range, 0, 4, revision), "at the stop");
  assert.ok(!places.mayAnswer(position, range, 0, 5, revision), "after the stop");
  assert.ok(!places.mayAnswer(position, range, 0, 6, fold.head), "after the move");
  assert.ok(places.mayAnswer(position, range, 1, 3, fold.head));
  assert.ok(!places.mayAnswer(position, ALL, 1, 3, fold.head), "several shards");
});

test("reads are calm again from the end of a plan on", () => {
  const store = open();
  const { places, append, fold } = store;
  assert.equal(places.calmFrom, 0);
  const router = new LocatorRouter(store.timeline);
  const key = movedKey();
  const at = freeze(store);
  assert.equal(places.calmFrom, Number.POSITIVE_INFINITY);
  assert.equal(router.shardOf(key), 0);
  assert.deepEqual(router.shardsOf(ALL.key, ALL.rangeEnd), [0]);
  assert.equal(router.homeOf(5n), 0);
  append([[1, 3]], move(at.mover, at.freeze));
  assert.equal(router.shardOf(key), 1);
  assert.equal(places.calmFrom, Number.POSITIVE_INFINITY);
  // What the mover deletes on the source is sealed by the entry that ends the plan.
  append([[0, 9]], { kind: "done", plan: 1 });
  assert.equal(places.calmFrom, fold.head);
  assert.equal(fold.cut(0), 9);
  assert.ok(places.hasImports(1) && !places.hasImports(0));
  assert.equal(router.shardOf(key), 1);
  assert.deepEqual(router.shardsOf(ALL.key, ALL.rangeEnd), [0, 1]);
  const homes = new Set([...Array(50).keys()].map((lease) => router.homeOf(BigInt(lease))));
  assert.deepEqual([...homes].sort(), [0, 1], "leases have homes by the new map");
  const stored = decodePlacement(encodePlacement(fold.placement.snapshot()));
  assert.equal(stored.cleanFrom, fold.head);
});
