/** Number of finite buckets. */
const BUCKETS = 16;
/** Upper bound of the first bucket. Each further bound is twice the one before. */
const FIRST_MS = 0.25;
const LAST_MS = FIRST_MS * 2 ** (BUCKETS - 1);

/** Upper bounds of the finite buckets, inclusive, in seconds: 0.00025, 0.0005, … 8.192. */
export const BOUNDS: readonly number[] = Array.from(
  { length: BUCKETS },
  (_, i) => (FIRST_MS * 2 ** i) / 1_000,
);

/** A histogram of durations with fixed buckets. `observe` takes a few nanoseconds and allocates nothing. */
export class Histogram {
  /** Count of each bucket alone, not cumulative. The last bucket has no upper bound. */
  readonly buckets = new Float64Array(BUCKETS + 1);
  /** Sum of all durations in milliseconds. */
  sumMs = 0;

  observe(ms: number): void {
    this.sumMs += ms;
    // `bucketOf` is always in range.
    this.buckets[bucketOf(ms)]!++;
  }

  get count(): number {
    return this.buckets.reduce((sum, n) => sum + n, 0);
  }
}

function bucketOf(ms: number): number {
  if (ms <= FIRST_MS) return 0;
  if (ms > LAST_MS) return BUCKETS;
  // Bounds are inclusive powers of two of the first, so the bucket is a binary exponent.
  return 32 - Math.clz32(Math.ceil(ms / FIRST_MS) - 1);
}
