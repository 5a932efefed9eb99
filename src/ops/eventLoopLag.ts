import { createHistogram } from "node:perf_hooks";
import type { Aggregator } from "./samples.js";

/** Time between samples. Each wakes an idle process. Node's own histogram samples more often and counts its pause as lag. */
const INTERVAL_MS = 100;
/** Lags that the histogram covers, in nanoseconds, and its number of significant digits. */
const RANGE = { lowest: 1, highest: 1e12, figures: 2 };
const NS_PER_SECOND = 1e9;

export interface LagStatistic {
  readonly name: string;
  readonly help: string;
  readonly aggregator: Aggregator;
  /** Returns seconds, over the samples since `restart`. */
  read(): number;
}

/** Measures how late this process's timers fire: how long one turn of the event loop keeps everything else waiting. */
export class EventLoopLag {
  private readonly histogram = createHistogram(RANGE);
  private last = process.hrtime.bigint();

  /** Starts to measure. This does not keep the process alive. */
  constructor() {
    setInterval(() => this.sample(), INTERVAL_MS).unref();
  }

  /** Named as in prom-client. */
  readonly statistics: readonly LagStatistic[] = [
    this.statistic("min", "Minimum", "min", ({ min }) => min),
    this.statistic("max", "Maximum", "max", ({ max }) => max),
    this.statistic("mean", "Mean", "average", ({ mean }) => mean),
    this.statistic("stddev", "Standard deviation of the", "average", ({ stddev }) => stddev),
    ...[50, 90, 99].map((n) =>
      this.statistic(`p${n}`, `${n}th percentile of the`, "average", (seen) => seen.percentile(n)),
    ),
  ];

  /** Discards all samples. */
  restart(): void {
    this.histogram.reset();
  }

  private sample(): void {
    const now = process.hrtime.bigint();
    const late = now - this.last - BigInt(INTERVAL_MS * 1e6);
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
      read: () => (this.histogram.count === 0 ? 0 : read(this.histogram) / NS_PER_SECOND),
    };
  }
}
