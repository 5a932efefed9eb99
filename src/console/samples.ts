import { type Figures, quantile } from "./figures.js";
import { ratesOf } from "./rates.js";
import type { CallRates, History } from "./report.js";

/** Least time between two samples, in milliseconds. */
export const SAMPLE_MS = 2_000;
/** How long samples are kept, in milliseconds. */
const KEPT_MS = 15 * 60_000;
const MAX_SAMPLES = KEPT_MS / SAMPLE_MS;
/** Rates and latencies are measured over at least this time, in milliseconds, unless there is less. */
const WINDOW_MS = 10_000;
/** Most shards with a history of their own. */
const MAX_SHARDS = 64;

interface Sample {
  readonly at: number;
  readonly calls: CallRates;
  readonly sealP50: number | null;
  readonly sealP99: number | null;
  readonly watches: number;
  readonly connections: number;
  readonly memory: number;
  readonly shards: ReadonlyMap<string, CallRates>;
}

/** The figures of the last 15 minutes, in bounded memory. */
export class Samples {
  private readonly ring: Sample[] = [];
  /** The last scrapes, oldest first: those of `WINDOW_MS`, and one before. */
  private readonly recent: Figures[] = [];

  add(figures: Figures): void {
    const { at } = figures;
    this.recent.push(figures);
    while (this.recent[1] !== undefined && this.recent[1].at <= at - WINDOW_MS) this.recent.shift();
    this.ring.push(this.sampleOf(figures));
    while ((this.ring[0]?.at ?? at) <= at - KEPT_MS) this.ring.shift();
    // The clock may have been set back.
    if (this.ring.length > MAX_SAMPLES) this.ring.shift();
  }

  /** The newest figures; undefined before the first. */
  get newest(): Figures | undefined {
    return this.recent.at(-1);
  }

  /** The figures that rates are measured from; undefined while there is only one sample. */
  get earlier(): Figures | undefined {
    return this.recent.length > 1 ? this.recent[0] : undefined;
  }

  /** The samples after `since`, in milliseconds since the epoch. */
  history(since: number): History {
    const samples = this.ring.filter(({ at }) => at > since);
    const names = [...(samples.at(-1)?.shards.keys() ?? [])];
    return {
      at: samples.map(({ at }) => at),
      requests: samples.map(({ calls }) => round(calls.requestsPerSecond)),
      errors: samples.map(({ calls }) => round(calls.errorsPerSecond)),
      p50: samples.map(({ calls }) => round(calls.p50)),
      p99: samples.map(({ calls }) => round(calls.p99)),
      sealP50: samples.map(({ sealP50 }) => round(sealP50)),
      sealP99: samples.map(({ sealP99 }) => round(sealP99)),
      watches: samples.map(({ watches }) => watches),
      connections: samples.map(({ connections }) => connections),
      memory: samples.map(({ memory }) => memory),
      shards: Object.fromEntries(
        names.map((name) => [
          name,
          {
            requests: samples.map(({ shards }) => round(shards.get(name)?.requestsPerSecond ?? null)),
            p99: samples.map(({ shards }) => round(shards.get(name)?.p99 ?? null)),
          },
        ]),
      ),
    };
  }

  private sampleOf(figures: Figures): Sample {
    const before = this.earlier;
    const sealsBefore = before?.seals ?? [];
    const shards = [...figures.shards.keys()].slice(0, MAX_SHARDS);
    return {
      at: figures.at,
      calls: ratesOf(before, figures, ({ calls }) => calls),
      sealP50: before === undefined ? null : quantile(0.5, sealsBefore, figures.seals, figures.bounds),
      sealP99: before === undefined ? null : quantile(0.99, sealsBefore, figures.seals, figures.bounds),
      watches: figures.value("braid_watchers"),
      connections: figures.value("braid_connections"),
      memory: figures.value("process_resident_memory_bytes"),
      shards: new Map(
        shards.map((name) => [name, ratesOf(before, figures, (each) => each.shards.get(name))]),
      ),
    };
  }
}

/** Four digits are enough for a chart. */
const round = (value: number | null): number | null => (value === null ? null : Number(value.toPrecision(4)));
