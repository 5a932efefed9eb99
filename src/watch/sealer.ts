import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";

/** Bounds of the delay before a revision that was seen is sealed, if its writer has not sealed it. */
const MIN_DELAY_MS = 5;
const MAX_DELAY_MS = 25;
const RETRY_DELAY_MS = 1_000;

/**
 * Seals revisions of one shard that the upstream watch has seen and no writer has sealed: after a lease expired, a writer
 * died, or a client wrote past the proxies. The delay is random, because every proxy sees the same revisions.
 */
export class Sealer {
  /** Set while a revision waits to be sealed or is being sealed. Stops the wait. */
  private stopTimer: (() => void) | undefined;
  private closed = false;

  constructor(
    private readonly timeline: Timeline,
    private readonly shard: number,
    /** Newest shard revision seen with a client's key. Revisions of the log must not count, because a seal writes one. */
    private readonly newest: () => number,
    private readonly runtime: Runtime,
  ) {}

  /** To be called when `newest` may have risen. */
  sighted(): void {
    // In a sole store there is no entry that another proxy may be about to write.
    const delay = MIN_DELAY_MS + this.runtime.random() * (MAX_DELAY_MS - MIN_DELAY_MS);
    this.arm(this.timeline.isSole ? 0 : delay);
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

  /** Seals the revision that was the newest before the delay. Later ones may be about to be sealed by their writers. */
  private async seal(shardRevision: number): Promise<void> {
    let delay = MIN_DELAY_MS;
    if (!this.timeline.isSealed(this.shard, shardRevision)) {
      try {
        await this.timeline.seal(this.shard, shardRevision, true);
      } catch {
        delay = RETRY_DELAY_MS;
      }
    }
    this.stopTimer = undefined;
    this.arm(delay);
  }
}
