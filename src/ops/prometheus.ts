import type { Gauge, Registry } from "prom-client";
import { BOUNDS, type Histogram } from "../stats/histogram.js";
import { EventLoopLag } from "./eventLoopLag.js";
import { addProcessMetrics } from "./processMetrics.js";
import type { Aggregator, Labels, MetricSink, Sample } from "./samples.js";

/** A histogram of durations, with its labels. */
export type HistogramSample = readonly [labels: Labels, histogram: Histogram];

/** The values of one process's metrics, in the form that is sent to another process. */
export type Values = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>;

/**
 * Prometheus metrics, whose values are read at each scrape from the counters of the other rooms. Between scrapes
 * they cost nothing. The first scrape loads prom-client, so all metrics must have been added by then.
 */
export class Metrics implements MetricSink {
  static readonly contentType = "text/plain; version=0.0.4; charset=utf-8";
  private readonly added: (Gauge & { readonly name: string })[] = [];
  private loading: Promise<Registry> | undefined;
  private lag: EventLoopLag | undefined;

  /**
   * `runtime` adds metrics of the process and of Node.js: CPU time, memory, event loop and garbage collection. The
   * last two are measured from the first scrape on.
   */
  constructor(private readonly runtime: boolean) {
    if (runtime) addProcessMetrics(this);
  }

  counter(name: string, help: string, read: () => Iterable<Sample>): void {
    this.add(name, help, "counter", "sum", () => values(read()));
  }

  gauge(name: string, help: string, read: () => Iterable<Sample>, aggregator: Aggregator = "sum"): void {
    this.add(name, help, "gauge", aggregator, () => values(read()));
  }

  /** Adds a histogram of durations. `name` should end in `_seconds`, the unit of the exported values. */
  histogram(name: string, help: string, read: () => Iterable<HistogramSample>): void {
    this.add(name, help, "histogram", "sum", () => {
      const all: Value[] = [];
      for (const [labels, histogram] of read()) addHistogram(all, name, labels, histogram);
      return all;
    });
  }

  /** Returns all metrics in Prometheus's text format. */
  text(): Promise<string> {
    return this.scrape((registry) => registry.metrics());
  }

  /** Returns all metrics as values, for `addUp`. */
  values(): Promise<Values> {
    return this.scrape((registry) => registry.getMetricsAsJSON());
  }

  private async scrape<T>(read: (registry: Registry) => Promise<T>): Promise<T> {
    this.loading ??= this.load();
    const result = await read(await this.loading);
    this.lag?.restart();
    return result;
  }

  private async load(): Promise<Registry> {
    const { collectDefaultMetrics, Registry } = await import("prom-client");
    const register = new Registry();
    if (this.runtime) {
      // The library's event loop monitor would keep waking an idle process, so we measure the lag ourselves.
      collectDefaultMetrics({ register, eventLoopMonitoringPrecision: 2 ** 31 - 1 });
      this.lag = new EventLoopLag();
      for (const { name, help, aggregator, read } of this.lag.statistics) {
        this.gauge(name, help, () => [[{}, read()]], aggregator);
      }
    }
    for (const metric of this.added) {
      // Our metric replaces the library's of the same name.
      register.removeSingleMetric(metric.name);
      register.registerMetric(metric);
    }
    return register;
  }

  private add(name: string, help: string, type: string, aggregator: Aggregator, read: () => Value[]): void {
    // This is all that the registry needs. The library's own metric classes would store the values a second time.
    const head = { name, help, type, aggregator };
    const metric = { ...head, get: async () => ({ ...head, values: read() }) };
    this.added.push(metric as unknown as (typeof this.added)[number]);
  }
}

/** Aggregates the metrics of several processes. Returns Prometheus's text format. */
export async function addUp(all: readonly Values[]): Promise<string> {
  const { AggregatorRegistry } = await import("prom-client");
  return AggregatorRegistry.aggregate([...all]).metrics();
}

interface Value {
  readonly labels: Labels;
  readonly value: number;
  readonly metricName?: string;
}

function values(samples: Iterable<Sample>): Value[] {
  return Array.from(samples, ([labels, value]) => ({ labels, value }));
}

function addHistogram(all: Value[], name: string, labels: Labels, { buckets, sumMs }: Histogram): void {
  let count = 0;
  buckets.forEach((n, i) => {
    count += n;
    // The last bucket has no bound.
    const le = String(BOUNDS[i] ?? "+Inf");
    all.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: count });
  });
  all.push({ metricName: `${name}_sum`, labels, value: sumMs / 1_000 });
  all.push({ metricName: `${name}_count`, labels, value: count });
}
