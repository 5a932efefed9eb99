import type { Runtime } from "../turn/runtime.js";

export interface LaneOptions {
  readonly runtime: Runtime;
  /** Tasks under way at the same time. */
  readonly width: number;
  /** Pause after a failure before anything is tried again, ms; up to half of it again is added by chance. */
  readonly retryMs: number;
  /** Does the work for one lease. A rejection means: again later. */
  run(lease: bigint): Promise<void>;
  /** Told of every rejection. */
  failed(lease: bigint, error: unknown): void;
}

/**
 * Work that must be done for leases at one place (a shard, the timeline), each until it succeeds. Bounded
 * concurrency; after a failure everything that waits goes on waiting for the pause, so that a place that is
 * down costs little however many leases wait for it. A lease added during the pause is tried once at once:
 * somebody waits for that answer.
 */
export class Lane {
  private ready = new Set<bigint>();
  private postponed = new Set<bigint>();
  private readonly running = new Set<bigint>();
  private stopPause: (() => void) | undefined;
  private stopped = false;

  constructor(private readonly options: LaneOptions) {}

  /** Queues a lease; one that waits already keeps its place. */
  add(lease: bigint): void {
    if (this.stopped || this.postponed.has(lease)) return;
    this.ready.add(lease);
    this.advance();
  }

  /** Nothing starts any more. */
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
