import { SegmentTable } from "./segments.js";

/**
 * The table without what can never be shown again after a compaction at revision `at`.
 *
 * `live[shard]` holds the create and mod revisions (the shard's own, ascending) of all keys at the
 * compaction's cut. A segment at or below `at` shrinks to the part between its first and its last live
 * revision, or goes; so pruning never adds segments. Each shard's last revision at or below `at` stays: it
 * is where the shard is compacted.
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
      const hits = live[shard];
      const end = shardRevision + old;
      while (next[shard] < hits.length && hits[next[shard]] < shardRevision) next[shard]++;
      let first = next[shard] < hits.length && hits[next[shard]] < end ? hits[next[shard]] : undefined;
      while (next[shard] < hits.length && hits[next[shard]] < end) next[shard]++;
      let last = first === undefined ? undefined : hits[next[shard] - 1];
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
