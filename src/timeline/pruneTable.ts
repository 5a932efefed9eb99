// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import { SegmentTable } from "./segments.js";

/**
 * Returns the table without the revisions that no answer can contain after a compaction at revision `at`.
 *
 * `live[shard]` has the create and mod revisions (shard revisions, ascending) of all keys at the cut of `at`. A segment
 * at or below `at` shrinks to the part between its first and last live revision, or disappears, so pruning never adds
 * segments. Each shard's last revision at or below `at` stays, because the shard is compacted there.
 */
export function pruneTable(
  table: SegmentTable,
  at: number,
  live: readonly ArrayLike<number>[],
): SegmentTable {
  const pruned = new SegmentTable(table.shardCount);
  const next = new Array<number>(table.shardCount).fill(0);
  for (let index = 0; index < table.count; index++) {
    const { revision, shard, shardRevision, length } = table.at(index);
    const old = Math.min(length, Math.max(0, at - revision + 1));
    if (old > 0) {
      const hits = live[shard]!;
      const end = shardRevision + old;
      let place = next[shard]!;
      while (place < hits.length && hits[place]! < shardRevision) place++;
      let first = place < hits.length && hits[place]! < end ? hits[place] : undefined;
      while (place < hits.length && hits[place]! < end) place++;
      let last = first === undefined ? undefined : hits[place - 1];
      next[shard] = place;
      if (end - 1 === table.shardRevisionAt(at, shard)) {
        last = end - 1;
        first ??= last;
      }
      if (first !== undefined && last !== undefined) {
        pruned.append(revision + first - shardRevision, shard, first, last - first + 1);
      }
    }
    if (old < length) pruned.append(revision + old, shard, shardRevision + old, length - old);
  }
  return pruned;
}
