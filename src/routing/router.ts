/** Key → shard, pure. Keys are bytes. Range ends follow etcd: empty = the one key, a single zero byte = no end. */
export interface Router {
  readonly shardCount: number;
  /** Shard index of a key. */
  shardOf(key: Uint8Array): number;
  /**
   * Ascending indices of exactly the shards that can hold a key of `[key, rangeEnd)`; empty for an empty
   * range. The reserved keyspace (keys that begin with a zero byte) belongs to no shard here.
   */
  shardsOf(key: Uint8Array, rangeEnd: Uint8Array): readonly number[];
  /** Home shard of a lease id. */
  homeOf(lease: bigint): number;
}
