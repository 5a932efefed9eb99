import { collectDefaultMetrics, type Gauge, Registry } from "prom-client";
import { BOUNDS, type Histogram } from "../stats/histogram.js";

export type Labels = Readonly<Record<string, string>>;
/** One value of a metric, under its labels. */
export type Sample = readonly [labels: Labels, value: number];
/** One histogram of durations, under its labels. */
export type HistogramSample = readonly [labels: Labels, histogram: Histogram];

/** How the values of several processes make one: added up, the largest, or the smallest. */
export type Aggregator = "sum" | "max" | "min";

/**
 * Prometheus metrics that are read where they are counted, when somebody asks for them: between two scrapes they
 * cost nothing.
 */
export class Metrics {
  readonly registry = new Registry();

  /** Adds those of the process and of Node.js: processor time, memory, event loop, garbage collection. */
  addRuntime(): void {
    // The lag of the event loop is measured by a timer; the default of 10 ms would wake an idle process more often.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 20 });
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
    return this.registry.metrics();
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  private add(name: string, help: string, type: string, aggregator: Aggregator, read: () => Value[]): void {
    // All that the registry asks of a metric; the library's own classes would keep the values a second time.
    const head = { name, help, type, aggregator };
    const metric = { ...head, get: async () => ({ ...head, values: read() }) };
    this.registry.registerMetric(metric as unknown as Gauge);
  }
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
