import { randomInt } from "node:crypto";

/** Below the milliseconds, which have 42 of the 63 bits of a positive int64: enough until the year 2109. */
const RANDOM_BITS = 21;

/**
 * Draws ids for new leases. Like etcd's own they ascend with the time, so that ids tell in which order leases were
 * granted. Those of other proxies differ by chance, one in two million for two of the same millisecond.
 */
export class LeaseIds {
  private last = 0n;

  next(): bigint {
    const drawn = (BigInt(Date.now()) << BigInt(RANDOM_BITS)) | BigInt(randomInt(2 ** RANDOM_BITS));
    // In the same millisecond, or when the clock was set back.
    this.last = drawn > this.last ? drawn : this.last + 1n;
    return this.last;
  }
}
