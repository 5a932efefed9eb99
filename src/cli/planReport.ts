/** What `braid plan` finds, as `--json` prints it. */
export interface PlanReport {
  /** The store's id; null for a store of an older version. */
  readonly store: string | null;
  /** The revision at which keys were counted; null if they were not. */
  readonly revision: number | null;
  readonly changes: readonly { readonly of: string; readonly message: string }[];
  /** What prevents the change. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  /** Null if nothing changes, or if a shard cannot be read. */
  readonly keys: PlanKeys | null;
}

/** The keys that move. Bytes are estimated. */
export interface PlanKeys {
  /** All keys of the store. */
  readonly total: number;
  readonly moving: number;
  readonly movingGroups: number;
  readonly movingBytes: number;
  /** Number of keys whose size was read for the estimate. */
  readonly sampled: number;
  readonly steps: number;
  /** Keys of the largest step. */
  readonly largestStep: number;
  /** Keys per second. */
  readonly rate: number;
  readonly seconds: number;
  readonly moves: readonly {
    readonly from: string;
    readonly to: string;
    readonly groups: number;
    readonly keys: number;
    readonly bytes: number;
  }[];
  readonly shards: readonly {
    readonly name: string;
    readonly state: string;
    readonly before: number;
    readonly after: number;
  }[];
  /** Groups and pinned prefixes that the new rules split. */
  readonly splits: readonly {
    /** As text, with `\xNN` for unprintable bytes. */
    readonly name: string;
    readonly pinned: boolean;
    readonly keys: number;
    readonly parts: number;
    readonly shards: number;
  }[];
}
