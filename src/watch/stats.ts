import type { ShardSet } from "../shard/shardSet.js";
import { SharedBytes } from "../stats/connections.js";

/** Counts of this proxy's watches on one shard, including replays. */
export interface UpstreamStats {
  /** Events received, for all keys. */
  events: number;
  /** Watches opened, including those that replaced a lost one. */
  opened: number;
}

/** Counts of a proxy's watches. Totals are since its start. */
export class WatchStats {
  /** Open client streams. */
  streams = 0;
  /** Watches created by clients, in total. */
  created = 0;
  /** Events sent to clients. */
  eventsOut = 0;
  /** Watches ended because revisions that they needed were compacted. */
  compacted = 0;
  /** Watches refused, and streams ended, because their connection or all connections together had too many watches. */
  refused = 0;
  /** Memory of clients' watches, shared by all streams. */
  readonly memory = new SharedBytes();
  /** Times that a client's stream was full, so that its watches fell back to the history. */
  blocked = 0;
  /** Times that a watcher read from the history. */
  historyReads = 0;
  /** Replays from the shards' own histories. */
  replays = 0;
  /** By shard. */
  readonly upstream: ShardSet<UpstreamStats>;

  constructor(shards: ShardSet) {
    this.upstream = shards.map(() => ({ events: 0, opened: 0 }));
  }
}

/** The current state of a proxy's watchers. */
export interface WatchStatus {
  /** Watchers that get events as they arrive. */
  readonly synced: number;
  /** Watchers that read the history. */
  readonly lagging: number;
  /** Watchers that wait for a replay or are in one. */
  readonly replaying: number;
  /** Revisions in the timeline that have not been delivered; 0 while there are no watchers. */
  readonly undelivered: number;
  /** By shard: sealed shard revisions that its watch has not brought yet; 0 while there are no watchers. */
  readonly missing: ReadonlyMap<number, number>;
}
