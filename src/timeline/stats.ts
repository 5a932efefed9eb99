import { Histogram } from "../stats/histogram.js";

/** What a timeline counts. */
export class TimelineStats {
  /** How long those waited who asked for a shard revision to be sealed; one that was sealed already is not counted. */
  readonly seals = new Histogram();
  /** How long the host took to take an entry. */
  readonly appends = new Histogram();
  /** Appends whose outcome is unknown, and those that another proxy's new base has refused. */
  appendsFailed = 0;
  appendsRefused = 0;
  /** How long a linearizable look at the log's end took. */
  readonly syncs = new Histogram();
  syncsFailed = 0;
  /** Entries folded, of all proxies. */
  entries = 0;
  /** Bases seen, of all proxies, and those of them that this proxy wrote. */
  bases = 0;
  ownBases = 0;
  /** How often the log's watch could not go on, and base and entries were read anew. */
  reloads = 0;
}
