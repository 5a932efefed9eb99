/** Bounds of a mover's work. The limits of requests are those of the destination with the lowest ones. */
export interface MoverOptions {
  /**
   * Most keys that move in a step, at least 1. A group never moves in parts, so a larger group is one step. A step with more
   * keys takes more memory (about 32 bytes for each key), and its copies take space on both sides for longer.
   */
  readonly stepKeys: number;
  /** Most bytes of keys and values that move in a step, with the same exception. */
  readonly stepBytes: number;
  /** Most keys of a page that is read from a shard, at least 1. Calls of clients wait while a proxy handles a page. */
  readonly pageKeys: number;
  /** Approximate bytes of a page. Larger pages are possible where values are much larger than those of the page before. */
  readonly pageBytes: number;
  /** Most keys that a transaction deletes, at least 1. Writes of clients wait until the shard has deleted them. */
  readonly deleteKeys: number;
  /** etcd's `--max-txn-ops`. At least 2: a transaction has two compares of gen. */
  readonly maxTxnOps: number;
  /** etcd's `--max-request-bytes`, for shards and for the timeline host. */
  readonly maxRequestBytes: number;
  /** Most transactions in flight on the destinations of a step, at least 1. */
  readonly concurrency: number;
  /** About how many keys these transactions put together at most. Fewer when they are slow; see `Flow`. */
  readonly keysInFlight: number;
}

/** With the limits of etcd's defaults. */
export const DEFAULT_OPTIONS: MoverOptions = {
  stepKeys: 10_000,
  stepBytes: 64 << 20,
  pageKeys: 500,
  pageBytes: 2 << 20,
  deleteKeys: 128,
  maxTxnOps: 128,
  maxRequestBytes: 1.5 * 2 ** 20,
  concurrency: 64,
  keysInFlight: 512,
};

/** The options for shards that accept requests within these limits of clients, but perhaps none that are much larger. */
export const optionsWithin = ({
  maxTxnOps,
  maxRequestBytes,
}: Pick<MoverOptions, "maxTxnOps" | "maxRequestBytes">): MoverOptions => ({
  ...DEFAULT_OPTIONS,
  maxTxnOps: Math.min(DEFAULT_OPTIONS.maxTxnOps, maxTxnOps),
  maxRequestBytes: Math.min(DEFAULT_OPTIONS.maxRequestBytes, maxRequestBytes),
});
