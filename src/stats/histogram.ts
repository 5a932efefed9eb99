/** Number of finite buckets. */
const BUCKETS = 16;
/** Upper bound of the first bucket, ms; each further one has twice the bound of the one before. */
const FIRST_MS = 0.25;
const LAST_MS = FIRST_MS * 2 ** (BUCKETS - 1);

/** Upper bounds of the finite buckets, inclusive, in seconds: 0.00025, 0.0005, … 8.192. */
export const BOUNDS: readonly number[] = Array.from(
  { length: BUCKETS },
  (_, i) => (FIRST_MS * 2 ** i) / 1_000,
);

/** A histogram of durations with fixed buckets. Counting one takes a few nanoseconds and no memory. */
export class Histogram {
  /** How many fell into each bucket alone (not cumulative); the last one has no bound. */
  readonly buckets = new Float64Array(BUCKETS + 1);
  /** Sum of all durations, ms. */
  sumMs = 0;

  observe(ms: number): void {
    this.sumMs += ms;
    this.buckets[bucketOf(ms)]++;
  }

  get count(): number {
    return this.buckets.reduce((sum, n) => sum + n, 0);
  }
}

function bucketOf(ms: number): number {
  if (ms <= FIRST_MS) return 0;
  if (ms > LAST_MS) return BUCKETS;
  // The binary exponent: bounds are powers of two of the first, and inclusive.
  return 32 - Math.clz32(Math.ceil(ms / FIRST_MS) - 1);
}
