import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";

/** Bounds of the delay before a shard revision is sealed that was seen and whose writer has not sealed it, ms. */
const MIN_DELAY = 5;
const MAX_DELAY = 25;
const RETRY_DELAY = 1_000;

/**
 * Seals what the upstream watch has seen of one shard and nobody has sealed: a lease that expired, a writer that
 * died, a write past the proxies. The delay is random, because every proxy sees the same.
 */
export class Sealer {
  /** Set while a revision waits to be sealed or is being sealed; stops the wait. */
  private stopTimer: (() => void) | undefined;
  private closed = false;

  constructor(
    private readonly timeline: Timeline,
    private readonly shard: number,
    /** Newest shard revision seen with a client's key. The log's own revisions must not count: sealing writes one. */
    private readonly newest: () => number,
    private readonly runtime: Runtime,
  ) {}

  /** `newest` may have moved. */
  sighted(): void {
    this.arm(MIN_DELAY + this.runtime.random() * (MAX_DELAY - MIN_DELAY));
  }

  close(): void {
    this.closed = true;
    this.stopTimer?.();
  }

  private arm(delay: number): void {
    if (this.stopTimer !== undefined || this.closed) return;
    const wanted = this.newest();
    if (this.timeline.isSealed(this.shard, wanted)) return;
    this.stopTimer = this.runtime.timer(delay, () => void this.seal(wanted));
  }

  /** Not what is newest by now: that may be about to be sealed by its writer. */
  private async seal(shardRevision: number): Promise<void> {
    let delay = MIN_DELAY;
    if (!this.timeline.isSealed(this.shard, shardRevision)) {
      try {
        await this.timeline.seal(this.shard, shardRevision, true);
      } catch {
        delay = RETRY_DELAY;
      }
    }
    this.stopTimer = undefined;
    this.arm(delay);
  }
}
