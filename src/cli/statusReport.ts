import type { PlanProgress } from "../reshard/progress.js";
import type { RemovedReport } from "./planEnding.js";

/** What `braid status` shows, as `--json` prints it. Null stands for what cannot be read. */
export interface StatusReport {
  /** The store's id; null for a store of an older version. */
  readonly store: string | null;
  readonly revision: number | null;
  readonly compactRevision: number | null;
  readonly timeline: {
    /** Name of the host's shard; null if the host is not a shard. */
    readonly shard: string | null;
    readonly clusterId: string | null;
    /** Number of entries in the log. */
    readonly entries: number | null;
  };
  /** The active plan; null if there is none, or if it cannot be read. */
  readonly plan: PlanProgress | null;
  /** The shards that plans have removed, but that the store still needs. */
  readonly removed: readonly RemovedReport[];
  /** The rules in force; null if the map cannot be read. */
  readonly rules:
    | readonly {
        /** As text, with `\xNN` for unprintable bytes. */
        readonly prefix: string;
        readonly delimiter: string;
        readonly segments: number;
        readonly shard: string | null;
      }[]
    | null;
  /** The shards of the map in force, then the timeline host if it is not a shard. */
  readonly clusters: readonly ClusterStatus[];
  /** Whether the file has the map in force; null if that cannot be read. */
  readonly isFileInForce: boolean | null;
}

export interface ClusterStatus {
  readonly name: string;
  /** Null for a timeline host that is not a shard. */
  readonly weight: number | null;
  readonly clusterId: string | null;
  /** Why it cannot be read. */
  readonly error: string | null;
  readonly endpoints: readonly {
    readonly endpoint: string;
    readonly state: string;
    readonly version: string | null;
    /** Bytes of the backend file. */
    readonly size: number | null;
    /** Bytes; since etcd 3.6. */
    readonly quota: number | null;
    readonly errors: readonly string[];
  }[];
  /** Bytes of the largest member's backend file. */
  readonly size: number | null;
  /** Bytes of the smallest quota. */
  readonly quota: number | null;
  /** The shard revision. */
  readonly revision: number | null;
  /** Keys at the store's revision; null for a timeline host that is not a shard. */
  readonly keys: number | null;
  /** Null unless they were counted. */
  readonly groups: number | null;
  /** The generation in the shard's mark. */
  readonly generation: number | null;
}
