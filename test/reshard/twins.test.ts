import assert from "node:assert/strict";
import { test } from "node:test";
import { OffsetTable } from "../../src/reshard/offsets.js";
import { decodePairs, encodePairs } from "../../src/reshard/pairs.js";
import { TwinTable } from "../../src/reshard/twins.js";
import { Random } from "../timeline/sim/scheduler.js";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
console.log(`seed ${seed}`);

test("twins are found in both directions, across blocks, as in a plain list", () => {
  const random = new Random(seed);
  const table = new TwinTable();
  const truth: [shardRevision: number, revision: number][] = [];
  let at = 2 ** 40;
  for (let move = 0; move < 30; move++) {
    const shardRevisions: number[] = [];
    const revisions: number[] = [];
    for (let n = random.below(60); n > 0; n--) {
      // Some steps are wider than a block, in either number.
      at += random.chance(0.02) ? 100_000 : 1 + random.below(3);
      const revision = random.chance(0.02) ? 2 ** 50 + random.below(9) : random.below(300);
      shardRevisions.push(at);
      revisions.push(revision);
      truth.push([at, revision]);
    }
    table.add(3, { shardRevisions, revisions });
  }
  assert.equal(table.count, truth.length);
  assert.equal(table.bytes, 8 * truth.length);
  for (const [shardRevision, revision] of truth) {
    assert.equal(table.revisionOf(3, shardRevision), revision);
    const all = truth.filter((each) => each[1] === revision).map((each) => each[0]);
    assert.deepEqual(table.shardRevisionsOf(3, revision), all);
  }
  const known = new Set(truth.map(([shardRevision]) => shardRevision));
  for (let n = 2 ** 40; n < 2 ** 40 + 200; n++)
    if (!known.has(n)) assert.equal(table.revisionOf(3, n), undefined);
  assert.equal(table.revisionOf(2, truth[0][0]), undefined);
  assert.deepEqual(table.shardRevisionsOf(3, 301), []);
});

test("pruning keeps live and newer twins", () => {
  const table = new TwinTable();
  table.add(0, { shardRevisions: [10, 11, 12, 20], revisions: [5, 4, 5, 6] });
  table.prune(0, 12, new Set([12]));
  assert.deepEqual(table.list(0), { shardRevisions: [12, 20], revisions: [5, 6] });
  assert.deepEqual(table.shardRevisionsOf(0, 5), [12]);
  table.prune(0, 30, new Set());
  assert.deepEqual(table.shardIndices, []);
});

test("twins are refused out of order of shard revision", () => {
  const table = new TwinTable();
  table.add(0, { shardRevisions: [10], revisions: [5] });
  assert.throws(() => table.add(0, { shardRevisions: [10], revisions: [6] }), RangeError);
  table.add(1, { shardRevisions: [9], revisions: [6] });
});

test("version offsets are found by create revision on the shard", () => {
  const table = new OffsetTable();
  table.add(1, { lives: [7, 9], offsets: [3, 40] });
  table.add(1, { lives: [12], offsets: [1] });
  assert.deepEqual(
    [6, 7, 8, 9, 12, 13].map((life) => table.of(1, life)),
    [0, 3, 0, 40, 1, 0],
  );
  assert.equal(table.of(0, 7), 0);
  assert.equal(table.bytes, 48);
  table.prune(1, 9, new Set([9]));
  assert.deepEqual(table.list(1), { lives: [9, 12], offsets: [40, 1] });
  assert.throws(() => table.add(1, { lives: [12], offsets: [1] }), RangeError);
});

test("lists of pairs survive encoding, and damage is refused", () => {
  const random = new Random(seed);
  for (let round = 0; round < 100; round++) {
    const ascending: number[] = [];
    const values: number[] = [];
    for (let n = random.below(20), at = 0; n > 0; n--) {
      at += 1 + random.below(random.pick([2, 300, 2 ** 45]));
      ascending.push(at);
      values.push(random.below(random.pick([2, 300, 2 ** 45])));
    }
    const bytes = encodePairs(ascending, values);
    assert.deepEqual(decodePairs(bytes), { ascending, values });
    if (bytes.length > 1) assert.throws(() => decodePairs(bytes.subarray(0, bytes.length - 1)), SyntaxError);
    assert.throws(() => decodePairs(Buffer.concat([bytes, Buffer.of(0)])), SyntaxError);
  }
});
