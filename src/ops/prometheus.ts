import type { Gauge, Registry } from "prom-client";
import { BOUNDS, type Histogram } from "../stats/histogram.js";
import { EventLoopLag } from "./lag.js";
import { addProcessMetrics } from "./process.js";
import type { Aggregator, Labels, MetricSink, Sample } from "./samples.js";

/** One histogram of durations, under its labels. */
export type HistogramSample = readonly [labels: Labels, histogram: Histogram];

/** The values of one process's metrics, as they are handed to another. */
export type Values = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>;

/**
 * Prometheus metrics that are read where they are counted, when somebody asks for them: between two scrapes they
 * cost nothing, nor before the first, with which the library for them is loaded. They are all added before that.
 */
export class Metrics implements MetricSink {
  static readonly contentType = "text/plain; version=0.0.4; charset=utf-8";
  private readonly added: (Gauge & { readonly name: string })[] = [];
  private loading: Promise<Registry> | undefined;
  private lag: EventLoopLag | undefined;

  /**
   * `runtime` adds those of the process and of Node.js: processor time, memory, event loop, garbage collection. The last
   * two are observed from the first scrape on.
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

  /** Durations, in seconds as Prometheus wants them. */
  histogram(name: string, help: string, read: () => Iterable<HistogramSample>): void {
    this.add(name, help, "histogram", "sum", () => {
      const all: Value[] = [];
      for (const [labels, histogram] of read()) addHistogram(all, name, labels, histogram);
      return all;
    });
  }

  /** The text format. */
  text(): Promise<string> {
    return this.scrape((registry) => registry.metrics());
  }

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
      // The lag of the event loop we measure ourselves: the library would wake an idle process all the time.
      collectDefaultMetrics({ register, eventLoopMonitoringPrecision: 2 ** 31 - 1 });
      this.lag = new EventLoopLag();
      for (const { name, help, aggregator, read } of this.lag.statistics) {
        this.gauge(name, help, () => [[{}, read()]], aggregator);
      }
    }
    for (const metric of this.added) {
      // Ours takes the place of the library's.
      register.removeSingleMetric(metric.name);
      register.registerMetric(metric);
    }
    return register;
  }

  private add(name: string, help: string, type: string, aggregator: Aggregator, read: () => Value[]): void {
    // All that the registry asks of a metric; the library's own classes would keep the values a second time.
    const head = { name, help, type, aggregator };
    const metric = { ...head, get: async () => ({ ...head, values: read() }) };
    this.added.push(metric as unknown as (typeof this.added)[number]);
  }
}

/** Those of several processes as one text. */
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
  BOUNDS.forEach((bound, i) => {
    count += buckets[i]!;
    all.push({ metricName: `${name}_bucket`, labels: { ...labels, le: String(bound) }, value: count });
  });
  count += buckets[BOUNDS.length]!;
  all.push({ metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: count });
  all.push({ metricName: `${name}_sum`, labels, value: sumMs / 1_000 });
  all.push({ metricName: `${name}_count`, labels, value: count });
}
