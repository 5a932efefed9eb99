import { ShardSet } from "../../src/shard/shardSet.js";

/** A set of shards without index of their own: the first has index 0. */
export function shardSet<T>(items: readonly T[]): ShardSet<T> {
  const set = new ShardSet<T>();
  for (const [index, item] of items.entries()) set.add(index, item);
  return set;
}
