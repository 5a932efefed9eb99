import { SharedBytes } from "../stats/connections.js";

/** What the watches from this proxy to one shard count, replays included. */
export interface UpstreamStats {
  /** Events that came, of all keys. */
  events: number;
  /** Watches opened, also again after a loss. */
  opened: number;
}

/** What the watches of a proxy count. */
export class WatchStats {
  /** Client streams that are open. */
  streams = 0;
  /** Watches that clients have created, ever. */
  created = 0;
  /** Events sent to clients. */
  eventsOut = 0;
  /** Watches that were ended because what they needed was compacted. */
  compacted = 0;
  /** Watches refused because their connection, or all of them, had too many; and streams ended because of that. */
  refused = 0;
  /** What clients' watches cost; shared by streams. */
  readonly memory = new SharedBytes();
  /** How often a client's stream was found full, so that its watches fell back to the history. */
  blocked = 0;
  /** Times that a watcher read a piece of the history, and replays from the shards' own histories. */
  historyReads = 0;
  replays = 0;
  /** By shard. */
  readonly upstream: readonly UpstreamStats[];

  constructor(shardCount: number) {
    this.upstream = Array.from({ length: shardCount }, () => ({ events: 0, opened: 0 }));
  }
}

/** How things stand with the watchers of a proxy. */
export interface WatchStatus {
  /** Watchers that get events as they come, that read the history, and that wait for a replay. */
  readonly synced: number;
  readonly lagging: number;
  readonly replaying: number;
  /** Revisions that are in the timeline and have not been handed out; 0 while nobody watches. */
  readonly undelivered: number;
  /** By shard: sealed shard revisions that its watch has not brought yet; 0 while nobody watches. */
  readonly missing: readonly number[];
}
