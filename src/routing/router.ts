/** Maps keys to shards. Pure. Range ends are as in etcd: empty for the key alone, a single zero byte for no end. */
export interface Router {
  readonly shardCount: number;
  /** Returns the index of the shard of a key. */
  shardOf(key: Uint8Array): number;
  /**
   * Returns the indices of exactly the shards that can hold a key in `[key, rangeEnd)`, ascending. The list is
   * empty for an empty range. The reserved keyspace (keys that start with a zero byte) belongs to no shard.
   */
  shardsOf(key: Uint8Array, rangeEnd: Uint8Array): readonly number[];
  /** Returns the index of a lease's home shard. */
  homeOf(lease: bigint): number;
}
