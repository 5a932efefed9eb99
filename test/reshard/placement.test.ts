import assert from "node:assert/strict";
import { test } from "node:test";
import { START } from "../../src/reshard/bound.js";
import { type Change, decodeChange, encodeChange, type PlanShard } from "../../src/reshard/change.js";
import { genDigits, genLimit, readGen } from "../../src/reshard/gen.js";
import { firstPlacement, MAX_INDICES, Placement } from "../../src/reshard/placement.js";
import { decodePlacement, encodePlacement } from "../../src/reshard/placementCodec.js";
import { ShardMapError } from "../../src/routing/map.js";
import { decodeEntry, encodeEntry } from "../../src/timeline/entry.js";
import { mapText } from "../support/maps.js";

const key = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const shard = (index: number): PlanShard => ({
  index,
  name: `s${index}`,
  endpoints: [`http://127.0.0.1:${index}`],
  clusterId: String(index),
  cut: 5,
});

const FIRST = mapText(1);

/** A placement, with a log in which each change gets the next position. */
function open() {
  const placement = new Placement(firstPlacement(FIRST, [shard(0)]));
  let position = 100;
  const append = (change: Change, revision = 50): boolean =>
    placement.apply(change, ++position, revision) !== undefined;
  const claim = (): number => {
    assert.ok(append({ kind: "claim" }));
    return position;
  };
  return { placement, append, claim, last: () => position };
}

/** The text of another map of the same shard for each plan. */
const mapAfter = (after: number): string => FIRST.replace("{", `{"n":${after},`);
const plan = (after: number, shards: readonly PlanShard[] = [], map = mapAfter(after)): Change => ({
  kind: "plan",
  after,
  map,
  shards,
});
const freeze = (mover: number, number: number, cursor: Uint8Array | null, to: Uint8Array | null): Change => ({
  kind: "freeze",
  mover,
  plan: number,
  cursor,
  to,
});
const move = (mover: number, frozen: number): Change => ({
  kind: "move",
  mover,
  freeze: frozen,
  sources: [{ shard: 0, stop: 70 }],
  destinations: [
    {
      shard: 1,
      ready: 9,
      twins: { shardRevisions: [6, 8], revisions: [40, 12] },
      offsets: { lives: [6], offsets: [2] },
    },
  ],
  ended: [key("/a/x")],
});

test("a plan with more shards than an index of one byte can tell apart is not valid", () => {
  const { placement, append } = open();
  const shards = Array.from({ length: MAX_INDICES }, (_, i) => shard(i + 1));
  assert.ok(!append(plan(0, shards)));
  assert.equal(placement.snapshot().shards.length, 1);
  assert.ok(append(plan(0, shards.slice(0, -1))));
  assert.equal(placement.snapshot().shards.at(-1)?.index, 255);
});

test("a plan goes from map to map, step by step", () => {
  const { placement, append, claim, last } = open();
  assert.ok(append(plan(0, [shard(1)])));
  const mover = claim();
  assert.ok(append({ kind: "begin", mover }));
  assert.ok(append(freeze(mover, 1, START, key("/b"))));
  const frozen = last();
  assert.deepEqual(placement.snapshot().plan?.frozen, {
    position: frozen,
    from: START,
    to: key("/b"),
    revision: 50,
  });
  assert.ok(append(move(mover, frozen), 60));
  const [moved] = placement.snapshot().moves;
  assert.equal(moved.revision, 61);
  assert.equal(moved.frozenAt, 50);
  assert.deepEqual([moved.source, moved.destination], [FIRST, mapAfter(0)]);
  assert.equal(placement.snapshot().twins.revisionOf(1, 8), 12);
  assert.equal(placement.snapshot().offsets.of(1, 6), 2);
  assert.ok(!append({ kind: "done", plan: 1 }), "the sweep is not complete");
  assert.ok(append(freeze(mover, 1, key("/b"), null)));
  assert.ok(append({ ...move(mover, last()), destinations: [] } as Change, 70));
  assert.ok(append({ kind: "done", plan: 1 }));
  assert.equal(placement.snapshot().inForce, mapAfter(0));
  assert.equal(placement.snapshot().plan, undefined);
});

test("repeated and late changes do nothing", () => {
  const { placement, append, claim, last } = open();
  assert.ok(append(plan(0)));
  assert.ok(!append(plan(0)), "a plan is active");
  const old = claim();
  const mover = claim();
  assert.ok(!append({ kind: "begin", mover: old }));
  assert.ok(!append(freeze(old, 1, START, null)), "replaced");
  assert.ok(!append(freeze(mover, 2, START, null)), "wrong plan");
  assert.ok(!append(freeze(mover, 1, key("/a"), null)), "wrong cursor");
  assert.ok(!append(freeze(mover, 1, START, START)), "an empty step");
  assert.ok(append(freeze(mover, 1, START, key("/b"))));
  const first = last();
  assert.ok(!append(freeze(mover, 1, START, key("/b"))), "frozen already");
  assert.ok(!append({ kind: "turn back", plan: 1 }), "a step is frozen");
  assert.ok(!append({ kind: "thaw", mover: old, freeze: first }));
  assert.ok(!append({ kind: "thaw", mover, freeze: first - 1 }));
  assert.ok(append({ kind: "thaw", mover, freeze: first }));
  assert.ok(!append({ kind: "thaw", mover, freeze: first }));
  assert.ok(!append(move(mover, first)), "thawed");
  assert.ok(append(freeze(mover, 1, START, key("/b"))));
  assert.ok(!append(move(mover, first)), "frozen again since");
  assert.ok(!append(move(old, last() - 1)), "replaced");
  assert.deepEqual(placement.snapshot().moves, []);
});

test("a plan that is turned back sweeps down, and a repeated turn does not turn it again", () => {
  const { placement, append, claim, last } = open();
  assert.ok(append(plan(0)));
  const mover = claim();
  assert.ok(append(freeze(mover, 1, START, key("/b"))));
  assert.ok(append(move(mover, last())));
  assert.ok(append({ kind: "turn back", plan: 1 }));
  assert.ok(!append({ kind: "turn back", plan: 1 }));
  assert.ok(!append(freeze(mover, 1, key("/b"), null)), "the number before the turn");
  assert.ok(!append(freeze(mover, 2, key("/b"), null)), "the wrong direction");
  assert.ok(append(freeze(mover, 2, key("/b"), START)));
  assert.ok(append({ ...move(mover, last()), destinations: [] } as Change, 80));
  const { moves } = placement.snapshot();
  assert.deepEqual([moves[1].source, moves[1].destination], [mapAfter(0), FIRST]);
  assert.ok(append({ kind: "done", plan: 2 }));
  assert.equal(placement.snapshot().inForce, FIRST);
  assert.ok(append(plan(2)), "the next plan names the number of the turn");
});

test("moves are dropped when a compaction has passed them", () => {
  const { placement, append, claim, last } = open();
  append(plan(0));
  const mover = claim();
  append(freeze(mover, 1, START, key("/b")));
  append(move(mover, last()), 60);
  placement.compact(61);
  assert.equal(placement.snapshot().moves.length, 1, "reads at M - 1 are refused, events at M are not");
  placement.compact(62);
  assert.equal(placement.snapshot().moves.length, 0);
});

test("a plan adds shards at the next free indices, or at earlier ones again", () => {
  const { placement, append } = open();
  assert.ok(!append(plan(0, [shard(2)])), "index 1 is missing");
  assert.ok(append(plan(0, [shard(1), { ...shard(0), cut: 99 }])));
  assert.deepEqual(
    placement.snapshot().shards.map(({ cut }) => cut),
    [99, 5],
  );
});

test("a plan gives a name no second index, and an index no second name", () => {
  const { placement, append } = open();
  assert.ok(append(plan(0, [shard(1)])));
  const named = (index: number, name: string): PlanShard => ({ ...shard(index), name });
  const after = (shards: readonly PlanShard[]): boolean => {
    const again = new Placement({ ...placement.snapshot(), plan: undefined });
    return again.apply(plan(1, shards), 200, 50) !== undefined;
  };
  assert.ok(!after([named(2, "s1")]), "another cluster with a name that is known");
  assert.ok(!after([named(1, "s2")]), "an index under another name");
  assert.ok(!after([named(2, "s2"), named(3, "s2")]), "twice in one plan");
  assert.ok(!after([named(3, "s3"), named(2, "s2")]), "out of order");
  assert.ok(after([named(2, "s2"), named(0, "s0")]));
  assert.equal(placement.snapshot().shards.length, 2, "an invalid plan changes nothing");
});

test("the map of a plan names only shards that the store has had or that the plan adds", () => {
  const { placement, append } = open();
  assert.ok(!append(plan(0, [], mapText(2))), "without its second shard");
  assert.ok(!append(plan(0, [shard(1)], mapText(3))), "without its third shard");
  assert.deepEqual([placement.snapshot().plans, placement.snapshot().shards.length], [0, 1]);
  assert.ok(append(plan(0, [shard(1)], mapText(2))));
  const later = new Placement({ ...placement.snapshot(), inForce: FIRST, plan: undefined });
  assert.ok(later.apply(plan(1, [], mapText(2)), 200, 50) !== undefined, "a shard that left the store");
  assert.throws(() => open().append(plan(0, [], "T")), ShardMapError, "an entry that cannot be read");
});

test("changes survive encoding, alone and in an entry", () => {
  const changes: Change[] = [
    plan(3, [shard(1)]),
    { kind: "claim" },
    { kind: "begin", mover: 7 },
    freeze(7, 3, START, null),
    freeze(7, 3, key("/a\xff"), key("/b")),
    { kind: "thaw", mover: 7, freeze: 9 },
    move(7, 9),
    { kind: "done", plan: 3 },
    { kind: "turn back", plan: 3 },
  ];
  for (const change of changes) {
    assert.deepEqual(decodeChange(JSON.parse(encodeChange(change))), change);
    const entry = { reached: new Map([[1, 9]]), compact: 0, leases: [], raftTerm: 2, change };
    assert.deepEqual(decodeEntry(Buffer.from(encodeEntry(entry))), entry);
  }
});

test("unknown kinds and fields and invalid values are refused", () => {
  for (const text of [
    '{"kind":"claim","x":1}',
    '{"kind":"merge"}',
    '{"kind":"thaw","mover":1}',
    '{"kind":"thaw","mover":1,"freeze":-1}',
    '{"kind":"plan","after":0,"map":"","shards":[{"index":0}]}',
    "[]",
    "null",
  ]) {
    assert.throws(() => decodeChange(JSON.parse(text)), SyntaxError, text);
  }
  assert.throws(() => decodeEntry(Buffer.from('{"p":[[0,1]],"q":1}')), SyntaxError);
});

test("the state survives encoding", () => {
  const { placement, append, claim, last } = open();
  const same = () => {
    const text = encodePlacement(placement.snapshot());
    assert.equal(encodePlacement(decodePlacement(text)), text);
    assert.deepEqual(decodePlacement(text).plan, placement.snapshot().plan);
    assert.deepEqual(decodePlacement(text).moves, placement.snapshot().moves);
  };
  same();
  append(plan(0, [shard(1)]));
  const mover = claim();
  same();
  append(freeze(mover, 1, START, key("/b")));
  same();
  append(move(mover, last()));
  append(freeze(mover, 1, key("/b"), null));
  same();
  const text = encodePlacement(placement.snapshot());
  assert.throws(
    () => decodePlacement(text.replace('"inForce":0', '"inForce":9')),
    SyntaxError,
    "a missing map",
  );
});

test("gen is compared as text", () => {
  for (const [value, limit, below] of [
    [0, 0, true],
    [7, 7, true],
    [8, 7, false],
    [255, 256, true],
    [2 ** 40 + 1, 2 ** 40, false],
  ] as const) {
    assert.equal(`${genDigits(value)} {"name":"s0"}` < genLimit(limit), below, `${value} at ${limit}`);
  }
  assert.equal(readGen(Buffer.from(`${genDigits(2 ** 40)} {}`)), 2 ** 40);
  assert.throws(() => readGen(Buffer.from("gen")), RangeError);
});
