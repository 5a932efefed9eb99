import type { Runtime } from "../turn/runtime.js";

export interface LaneOptions {
  readonly runtime: Runtime;
  /** Number of tasks that run at the same time. */
  readonly width: number;
  /** Milliseconds to pause after a failure. A random amount of up to half of it is added. */
  readonly retryMs: number;
  /** Does the work for one lease. If it rejects, it is called again later. */
  run(lease: bigint): Promise<void>;
  /** Called with every rejection. */
  failed(lease: bigint, error: unknown): void;
}

/**
 * Retries work for leases at one place (a shard or the timeline) until it succeeds for each of them. Concurrency is
 * bounded. After a failure all waiting leases pause, so that a place that is down costs little, however many leases wait
 * for it. A lease that is added during the pause is tried once without delay, because a client waits for the result.
 */
export class Lane {
  private ready = new Set<bigint>();
  private postponed = new Set<bigint>();
  private readonly running = new Set<bigint>();
  private stopPause: (() => void) | undefined;
  private stopped = false;

  constructor(private readonly options: LaneOptions) {}

  /** Queues a lease. A lease that already waits keeps its place. */
  add(lease: bigint): void {
    if (this.stopped || this.postponed.has(lease)) return;
    this.ready.add(lease);
    this.advance();
  }

  /** Starts no further work. */
  stop(): void {
    this.stopped = true;
    this.stopPause?.();
  }

  private advance(): void {
    for (const lease of this.ready) {
      if (this.stopped || this.running.size >= this.options.width) return;
      if (this.running.has(lease)) continue;
      this.ready.delete(lease);
      this.running.add(lease);
      void this.attempt(lease);
    }
  }

  private async attempt(lease: bigint): Promise<void> {
    try {
      await this.options.run(lease);
      this.running.delete(lease);
    } catch (error) {
      this.running.delete(lease);
      if (this.stopped) return;
      this.postpone(lease);
      this.options.failed(lease, error);
    }
    this.advance();
  }

  private postpone(lease: bigint): void {
    this.ready.delete(lease);
    this.postponed.add(lease);
    if (this.stopPause !== undefined) return;
    for (const other of this.ready) this.postponed.add(other);
    this.ready.clear();
    const { runtime, retryMs } = this.options;
    this.stopPause = runtime.timer(retryMs * (1 + runtime.random() / 2), () => {
      this.stopPause = undefined;
      this.ready = new Set([...this.postponed, ...this.ready]);
      this.postponed = new Set();
      this.advance();
    });
  }
}
