import { createHistogram } from "node:perf_hooks";
import type { Aggregator } from "./samples.js";

/** How often it is looked at, ms: this wakes an idle process. Node's own measurement, ten times as often, counts its pause as lag. */
const INTERVAL = 100;
/** Longest lag that is told apart, ns, and to how many digits. */
const RANGE = { lowest: 1, highest: 1e12, figures: 2 };
const NANOSECONDS = 1e9;

export interface LagStatistic {
  readonly name: string;
  readonly help: string;
  readonly aggregator: Aggregator;
  /** Seconds, of what was seen since `restart`. */
  read(): number;
}

/** How much later than they should timers of this process fire: how long what happens in one turn of its event loop keeps others waiting. */
export class EventLoopLag {
  private readonly histogram = createHistogram(RANGE);
  private last = process.hrtime.bigint();

  /** Looks from now on, for as long as the process lives for other reasons. */
  constructor() {
    setInterval(() => this.look(), INTERVAL).unref();
  }

  /** Under the names that prom-client gives them. */
  readonly statistics: readonly LagStatistic[] = [
    this.statistic("min", "Least", "min", ({ min }) => min),
    this.statistic("max", "Most", "max", ({ max }) => max),
    this.statistic("mean", "Mean", "average", ({ mean }) => mean),
    this.statistic("stddev", "Standard deviation of the", "average", ({ stddev }) => stddev),
    ...[50, 90, 99].map((n) =>
      this.statistic(`p${n}`, `${n}th percentile of the`, "average", (seen) => seen.percentile(n)),
    ),
  ];

  /** Forgets what was seen. */
  restart(): void {
    this.histogram.reset();
  }

  private look(): void {
    const now = process.hrtime.bigint();
    const late = now - this.last - BigInt(INTERVAL * 1e6);
    this.last = now;
    this.histogram.record(late > 1n ? late : 1n);
  }

  private statistic(
    name: string,
    what: string,
    aggregator: Aggregator,
    read: (seen: typeof this.histogram) => number,
  ): LagStatistic {
    return {
      name: `nodejs_eventloop_lag_${name}_seconds`,
      help: `${what} lag of the event loop since the last scrape.`,
      aggregator,
      read: () => (this.histogram.count === 0 ? 0 : read(this.histogram) / NANOSECONDS),
    };
  }
}
