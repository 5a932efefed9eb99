export type Labels = Readonly<Record<string, string>>;
/** One value of a metric, under its labels. */
export type Sample = readonly [labels: Labels, value: number];
/** How the values of several processes make one: added up, the largest, the smallest, or their mean. */
export type Aggregator = "sum" | "max" | "min" | "average";

/** Where metrics are registered. They are read when somebody asks for them. */
export interface MetricSink {
  counter(name: string, help: string, read: () => Iterable<Sample>): void;
  /** `aggregator` is "sum" by default. */
  gauge(name: string, help: string, read: () => Iterable<Sample>, aggregator?: Aggregator): void;
}
