export interface KvLimits {
  /** Largest write request in bytes, measured as etcd measures it (its `--max-request-bytes`, 1.5 MiB by default). */
  readonly maxRequestBytes: number;
  /** Most compares, or operations of one branch, in a transaction (etcd's `--max-txn-ops`, 128 by default). */
  readonly maxTxnOps: number;
  /** Longest that one request may take at a shard, ms; a client's nearer deadline counts. */
  readonly requestTimeoutMs: number;
}
