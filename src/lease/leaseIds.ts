import type { Runtime } from "../turn/runtime.js";

/** Low bits of an id. The other 42 bits of a positive int64 hold milliseconds, which is enough until the year 2109. */
const RANDOM_BITS = 21;

/**
 * Generates ids for new leases. Like etcd's own ids they ascend with time, so they order leases by the time of their
 * grant. Two proxies that generate an id in the same millisecond collide with a chance of one in two million.
 */
export class LeaseIds {
  private last = 0n;

  constructor(private readonly runtime: Runtime) {}

  next(): bigint {
    const low = Math.floor(this.runtime.random() * 2 ** RANDOM_BITS);
    const id = (BigInt(this.runtime.date()) << BigInt(RANDOM_BITS)) | BigInt(low);
    // `id` is not above the last one within a millisecond, or after the clock was set back.
    this.last = id > this.last ? id : this.last + 1n;
    return this.last;
  }
}
