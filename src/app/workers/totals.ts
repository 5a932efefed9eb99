import { addProcessMetrics } from "../../ops/processMetrics.js";
import { addUp, Metrics, type Values } from "../../ops/prometheus.js";

/** How long a worker may take to send its values. */
const VALUES_TIMEOUT_MS = 2_000;

/** A worker as a source of values. */
export interface Source {
  readonly number: number;
  collect(id: number): void;
}

/** Adds up the metrics of all workers. */
export class Totals {
  private nextId = 1;
  private readonly rounds = new Map<number, Round>();
  /** The primary's own metrics. */
  private readonly own = new Metrics(false);

  constructor(
    private readonly sources: () => readonly Source[],
    restarts: () => number,
    private readonly late: (workers: readonly number[]) => void,
  ) {
    addProcessMetrics(this.own);
    this.own.gauge("braid_workers", "Running worker processes.", () => [[{}, this.sources().length]]);
    this.own.counter(
      "braid_worker_restarts_total",
      "Workers that ended unexpectedly and were replaced.",
      () => [[{}, restarts()]],
    );
  }

  /** The totals in Prometheus' text format. Workers that do not respond in time are left out and reported to `late`. */
  async text(): Promise<string> {
    const id = this.nextId++;
    const values = await new Promise<Values[]>((resolve) => {
      const round = new Round(this.sources(), (missing) => {
        this.rounds.delete(id);
        if (missing.length > 0) this.late(missing);
        resolve([...round.values.values()]);
      });
      this.rounds.set(id, round);
      round.begin(id);
    });
    return addUp([...values, await this.own.values()]);
  }

  /** Takes the values that a worker has sent for round `id`. */
  take(worker: number, id: number, values: Values): void {
    this.rounds.get(id)?.take(worker, values);
  }

  /** Stops waiting for a worker that has ended. */
  gone(worker: number): void {
    for (const round of [...this.rounds.values()]) round.take(worker, []);
  }
}

/** One scrape. */
class Round {
  readonly values = new Map<number, Values>();
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly sources: readonly Source[],
    private readonly done: (missing: readonly number[]) => void,
  ) {
    this.timer = setTimeout(() => this.finish(), VALUES_TIMEOUT_MS);
  }

  begin(id: number): void {
    for (const source of this.sources) source.collect(id);
    if (this.sources.length === 0) this.finish();
  }

  take(worker: number, values: Values): void {
    if (!this.sources.some((source) => source.number === worker)) return;
    this.values.set(worker, values);
    if (this.values.size === this.sources.length) this.finish();
  }

  private finish(): void {
    clearTimeout(this.timer);
    this.done(this.sources.map(({ number }) => number).filter((number) => !this.values.has(number)));
  }
}
