import type { Runtime } from "../turn/runtime.js";

/** Below the milliseconds, which have 42 of the 63 bits of a positive int64: enough until the year 2109. */
const RANDOM_BITS = 21;

/**
 * Draws ids for new leases. Like etcd's own they ascend with the time, so that ids tell in which order leases were
 * granted. Those of other proxies differ by chance, one in two million for two of the same millisecond.
 */
export class LeaseIds {
  private last = 0n;

  constructor(private readonly runtime: Runtime) {}

  next(): bigint {
    const chance = Math.floor(this.runtime.random() * 2 ** RANDOM_BITS);
    const drawn = (BigInt(this.runtime.date()) << BigInt(RANDOM_BITS)) | BigInt(chance);
    // In the same millisecond, or when the clock was set back.
    this.last = drawn > this.last ? drawn : this.last + 1n;
    return this.last;
  }
}
