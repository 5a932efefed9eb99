import assert from "node:assert/strict";
import { test } from "node:test";
import type { Entry } from "../../src/timeline/entry.js";
import { Fold } from "../../src/timeline/fold.js";

const entry = (fields: Partial<Entry>): Entry => ({
  reached: new Map(),
  compact: 0,
  leases: [],
  raftTerm: 0,
  ...fields,
});
const reached = (shard: number, shardRevision: number) =>
  entry({ reached: new Map([[shard, shardRevision]]) });
const OWN = entry({ own: true });

test("an entry in the transaction of a put seals this put, and all writes of the host before it", () => {
  const fold = Fold.genesis(2, 0);
  // Writes of clients at 2 and 4, an entry of another proxy at 3, the put at 5.
  fold.apply(reached(1, 3), 3);
  fold.apply(OWN, 5);
  assert.deepEqual([fold.cut(0), fold.cut(1), fold.head], [5, 3, 6]);
  assert.deepEqual(
    [2, 4, 5].map((shardRevision) => fold.toRevision(0, shardRevision)),
    [4, 5, 6],
  );
  assert.equal(fold.toShardRevision(6, 0), 5);
  assert.deepEqual(fold.snapshot().hidden, []);
});

test("puts that carry their entries one after the other are one segment", () => {
  const fold = Fold.genesis(2, 0);
  for (let hostRevision = 2; hostRevision <= 9; hostRevision++) fold.apply(OWN, hostRevision);
  assert.equal(fold.snapshot().table.count, 1);
  assert.equal(fold.head, 9);
});

test("an entry after a put that carried one is the log's own again", () => {
  const fold = Fold.genesis(2, 0);
  fold.apply(OWN, 2);
  fold.apply(reached(1, 2), 3);
  assert.deepEqual([fold.cut(0), fold.cut(1), fold.head], [3, 2, 3]);
});

test("a seal that another proxy appends for such a put later says nothing new", () => {
  const fold = Fold.genesis(2, 0);
  fold.apply(OWN, 2);
  fold.apply(reached(0, 2), 3);
  assert.equal(fold.head, 2);
});

test("a reader that does not know which shard the host is passes over such an entry", () => {
  const fold = Fold.genesis(2, -1);
  fold.apply(OWN, 2);
  fold.apply(reached(1, 2), 3);
  assert.deepEqual([fold.cut(0), fold.cut(1), fold.head], [1, 2, 2]);
});
