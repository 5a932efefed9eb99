import type { Timeline } from "../timeline/view.js";

/** Bounds of the delay before a shard revision is sealed that was seen and whose writer has not sealed it, ms. */
const MIN_DELAY = 5;
const MAX_DELAY = 25;
const RETRY_DELAY = 1_000;

/**
 * Seals what the upstream watch has seen of one shard and nobody has sealed: a lease that expired, a writer that
 * died, a write past the proxies. The delay is random, because every proxy sees the same.
 */
export class Sealer {
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    private readonly timeline: Timeline,
    private readonly shard: number,
    /** Newest shard revision seen with a client's key. The log's own revisions must not count: sealing writes one. */
    private readonly newest: () => number,
  ) {}

  /** `newest` may have moved. */
  sighted(): void {
    this.arm(MIN_DELAY + Math.random() * (MAX_DELAY - MIN_DELAY));
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private arm(delay: number): void {
    if (this.timer !== undefined || this.closed) return;
    const wanted = this.newest();
    if (this.timeline.isSealed(this.shard, wanted)) return;
    this.timer = setTimeout(() => void this.seal(wanted), delay);
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
    this.timer = undefined;
    this.arm(delay);
  }
}
