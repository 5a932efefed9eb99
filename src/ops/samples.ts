export type Labels = Readonly<Record<string, string>>;
/** One value of a metric, with its labels. */
export type Sample = readonly [labels: Labels, value: number];
/** How to combine the values of several processes. */
export type Aggregator = "sum" | "max" | "min" | "average";

/** Registers metrics. `read` is called at each scrape. */
export interface MetricSink {
  counter(name: string, help: string, read: () => Iterable<Sample>): void;
  /** The default aggregator is "sum". */
  gauge(name: string, help: string, read: () => Iterable<Sample>, aggregator?: Aggregator): void;
}
