import { Histogram } from "../stats/histogram.js";

/** Counters of one proxy's timeline. Times are in milliseconds. */
export class TimelineStats {
  /** Time until a shard revision was sealed. Those that were sealed already are not counted. */
  readonly seals = new Histogram();
  /** Time that the host took to append an entry. */
  readonly appends = new Histogram();
  /** Entries that puts on the host have carried in their own transactions. */
  carried = 0;
  /** Appends that ended with an error, so that their outcome is unknown. */
  appendsFailed = 0;
  /** Appends that were refused because another proxy had written a new base. */
  appendsRefused = 0;
  /** Time of a linearizable read of the log's end, with folding up to it. */
  readonly syncs = new Histogram();
  /** Failed reads of the log's end. */
  syncsFailed = 0;
  /** Entries of all proxies that were folded. */
  entries = 0;
  /** New bases, written by any proxy. */
  bases = 0;
  /** New bases that this proxy wrote. */
  ownBases = 0;
  /** How often the watch of the log could not continue, so that base and entries were read again. */
  reloads = 0;
}
