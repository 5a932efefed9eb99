import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeSegments, encodeSegments } from "../../src/timeline/base.js";
import { pruneTable } from "../../src/timeline/pruneTable.js";
import { SegmentTable } from "../../src/timeline/segments.js";
import { Random } from "./sim/scheduler.js";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
console.log(`seed ${seed}`);

interface Point {
  readonly revision: number;
  readonly shard: number;
  readonly shardRevision: number;
}

/** A random table and, for comparison, a list of its revisions. Gaps in shard revisions are the host's own writes. */
function randomTable(random: Random): { table: SegmentTable; points: Point[]; shards: number } {
  const shards = 1 + random.below(4);
  const table = new SegmentTable(shards);
  const points: Point[] = [];
  const next = new Array<number>(shards).fill(2);
  let revision = 2;
  for (let n = random.below(60); n > 0; n--) {
    const shard = random.below(shards);
    if (random.chance(0.3)) next[shard] += random.below(3);
    const length = 1 + random.below(4);
    table.append(revision, shard, next[shard], length);
    for (let i = 0; i < length; i++) {
      points.push({ revision: revision++, shard, shardRevision: next[shard]++ });
    }
  }
  return { table, points, shards };
}

/** Compares all lookups with a search through the list. */
function check(table: SegmentTable, points: readonly Point[], shards: number, from: number): void {
  const last = points.at(-1)?.revision ?? 1;
  for (let revision = from; revision <= last + 1; revision++) {
    const here = points.find((point) => point.revision === revision);
    const run = table.runAt(revision);
    assert.deepEqual(run && { revision, shard: run.shard, shardRevision: run.shardRevision }, here);
    for (let shard = 0; shard < shards; shard++) {
      const mine = points.filter((point) => point.shard === shard);
      assert.equal(
        table.shardRevisionAt(revision, shard),
        mine.findLast((point) => point.revision <= revision)?.shardRevision,
      );
      assert.equal(
        table.shardRevisionAfter(revision, shard),
        mine.find((point) => point.revision > revision)?.shardRevision,
      );
    }
  }
  for (let shard = 0; shard < shards; shard++) {
    const mine = points.filter((point) => point.shard === shard);
    for (let at = 0; at <= (mine.at(-1)?.shardRevision ?? 1) + 1; at++) {
      assert.equal(
        table.revisionAt(shard, at),
        mine.findLast((point) => point.shardRevision <= at)?.revision,
      );
      assert.equal(table.revisionAfter(shard, at), mine.find((point) => point.shardRevision > at)?.revision);
    }
  }
}

test("lookups in both directions match a search through all revisions", () => {
  const random = new Random(seed);
  for (let n = 0; n < 300; n++) {
    const { table, points, shards } = randomTable(random);
    check(table, points, shards, 0);
  }
});

test("a table encoded in blocks decodes to the same table", () => {
  const random = new Random(seed);
  for (let n = 0; n < 300; n++) {
    const { table, points, shards } = randomTable(random);
    const middle = random.below(table.count + 1);
    const copy = new SegmentTable(shards);
    decodeSegments(encodeSegments(table, 0, middle), copy);
    decodeSegments(encodeSegments(table, middle, table.count), copy);
    assert.equal(copy.count, table.count);
    check(copy, points, shards, 0);
  }
});

test("revisions beyond 32 bits keep their value", () => {
  const table = new SegmentTable(2);
  table.append(2, 0, 2, 9_000_000_000);
  table.append(9_000_000_002, 1, 2 ** 50, 5);
  const copy = new SegmentTable(2);
  decodeSegments(encodeSegments(table, 0, table.count), copy);
  assert.equal(copy.revisionAt(0, 9_000_000_001), 9_000_000_001);
  assert.equal(copy.revisionAt(1, 2 ** 50 + 4), 9_000_000_006);
  assert.deepEqual(copy.runAt(8_999_999_999), {
    revision: 8_999_999_999,
    shard: 0,
    shardRevision: 8_999_999_999,
    length: copy.runAt(8_999_999_999)?.length,
  });
});

test("pruning keeps live revisions, those above the compaction, and where shards are compacted, and never grows", () => {
  const random = new Random(seed);
  for (let n = 0; n < 500; n++) {
    const { table, points, shards } = randomTable(random);
    if (points.length === 0) continue;
    const at = random.pick(points).revision;
    const old = points.filter((point) => point.revision <= at);
    const live = old.filter(() => random.chance(0.2));
    const hits = Array.from({ length: shards }, (_, shard) =>
      live.filter((point) => point.shard === shard).map((point) => point.shardRevision),
    );
    const pruned = pruneTable(table, at, hits);
    assert.ok(pruned.count <= table.count);
    for (const { revision, shard, shardRevision } of [
      ...live,
      ...points.filter((point) => point.revision > at),
    ]) {
      assert.equal(pruned.revisionAt(shard, shardRevision), revision);
      assert.equal(pruned.runAt(revision)?.shardRevision, shardRevision);
    }
    for (let shard = 0; shard < shards; shard++) {
      assert.equal(pruned.shardRevisionAt(at, shard), table.shardRevisionAt(at, shard));
      assert.equal(pruned.shardRevisionAfter(at, shard), table.shardRevisionAfter(at, shard));
    }
    // Bounds between live revisions keep their order relative to them.
    for (const { revision, shard, shardRevision } of live) {
      const before = pruned.shardRevisionAt(revision - 1, shard) ?? 0;
      assert.ok(before < shardRevision);
    }
  }
});

test("a million segments take at most 40 bytes each", () => {
  const table = new SegmentTable(3);
  for (let n = 0; n < 1_000_000; n++) table.append(n + 2, n % 3, Math.floor(n / 3) + 2, 1);
  assert.equal(table.count, 1_000_000);
  assert.ok(table.bytes / table.count <= 40, `${table.bytes / table.count} bytes per segment`);
});
