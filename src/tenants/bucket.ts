/** Rounding must not refuse what is exactly the rest. */
const TINY = 1e-9;

/**
 * A token bucket. It begins full, and fills at `rate` tokens a second up to `capacity`. Times are in milliseconds, from any
 * monotonic clock.
 */
export class Bucket {
  private level: number;

  constructor(
    private rate: number,
    private capacity: number,
    private since: number,
  ) {
    this.level = capacity;
  }

  /** Changes the rate and the capacity. What has been used stays used. */
  resize(rate: number, capacity: number, now: number): void {
    this.fill(now);
    const used = this.capacity - this.level;
    this.level = capacity - Math.min(used, capacity);
    this.rate = rate;
    this.capacity = capacity;
  }

  /** Whether `count` tokens can be taken. More than the capacity can be taken from a full bucket, which is in debt then. */
  has(count: number, now: number): boolean {
    this.fill(now);
    return this.level + TINY >= Math.min(count, this.capacity);
  }

  /** Takes tokens. If there are too few, the bucket is in debt. */
  take(count: number): void {
    this.level -= count;
  }

  /** Gives tokens back. */
  give(count: number): void {
    this.level = Math.min(this.capacity, this.level + count);
  }

  /** Time until `has(count)` would be true, in milliseconds. */
  wait(count: number, now: number): number {
    this.fill(now);
    return Math.max(0, ((Math.min(count, this.capacity) - this.level) / this.rate) * 1_000);
  }

  private fill(now: number): void {
    const passed = now - this.since;
    if (passed <= 0) return;
    this.since = now;
    this.level = Math.min(this.capacity, this.level + (this.rate * passed) / 1_000);
  }
}
