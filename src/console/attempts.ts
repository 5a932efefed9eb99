import { RequestError } from "./requestError.js";

/** Failed logins of one address, and of all together, in a minute. Above them, logins are refused. */
const MAX_FAILURES = 10;
const MAX_ALL_FAILURES = 100;
const MINUTE_MS = 60_000;
/** Counts all addresses together. So no more addresses than `MAX_ALL_FAILURES` are remembered. */
const ALL = "";

/** Bounds attempts to guess passwords. */
export class Attempts {
  /** Failures of the current minute, by address. */
  private failures = new Map<string, number>();
  private since: number;

  constructor(private readonly now: () => number) {
    this.since = now();
  }

  /** Throws `RequestError` if this address, or all together, have failed too often. */
  check(address: string): void {
    const left = MINUTE_MS - (this.now() - this.since);
    if (left <= 0) {
      this.failures = new Map();
      this.since = this.now();
      return;
    }
    if (this.of(address) < MAX_FAILURES && this.of(ALL) < MAX_ALL_FAILURES) return;
    throw new RequestError(429, "too many failed logins; try again in a minute", {
      "retry-after": String(Math.ceil(left / 1_000)),
    });
  }

  /** Counts an attempt as failed, until `succeeded` takes it back. */
  failed(address: string): void {
    this.count(address, 1);
  }

  succeeded(address: string): void {
    this.count(address, -1);
  }

  private count(address: string, more: number): void {
    for (const key of [address, ALL]) this.failures.set(key, Math.max(0, this.of(key) + more));
  }

  private of(address: string): number {
    return this.failures.get(address) ?? 0;
  }
}
