/** Fewest keys in flight, however slow the works are. */
const LEAST = 32;
/** A work may take so many times as long as the fastest one, and so many milliseconds more. */
const TIMES = 2;
const SLACK_MS = 3;
/** How much the limit changes while as many keys pass as it allows. */
const CHANGE = 0.1;

/**
 * Decides how many keys are in flight on destinations, from how long their transactions take. When these take longer than the
 * fastest one, they wait for each other or for clients, and clients for them. More of them would not be faster then, but
 * would make clients wait longer.
 */
export class Flow {
  private limit: number;
  private fastest = Number.POSITIVE_INFINITY;

  constructor(private readonly most: number) {
    this.limit = Math.min(LEAST, most);
  }

  /** Most keys in flight at the moment. */
  get keys(): number {
    return this.limit;
  }

  /** A transaction with so many keys took `ms` milliseconds. */
  learn(ms: number, keys: number): void {
    this.fastest = Math.min(this.fastest, ms);
    const isSlow = ms > TIMES * this.fastest + SLACK_MS;
    const limit = this.limit + (isSlow ? -CHANGE : CHANGE) * Math.min(keys, this.limit);
    this.limit = Math.max(Math.min(LEAST, this.most), Math.min(this.most, limit));
  }
}
