import type { Tenant } from "./tenant.js";

/** Shortest time between two searches for expired leases of one tenant, in milliseconds. */
const SWEEP_MS = 1_000;
/** Without anybody who asks, expired leases are searched for when there are so many, and then when there are twice as many. */
const MANY = 1_024;

interface Owned {
  readonly tenant: Tenant;
  /** When it expires unless it is renewed. */
  until: number;
}

/**
 * The leases of tenants that were granted or renewed through this process and have not expired since. A lease that is renewed
 * through another process counts there. Times are in milliseconds, from one monotonic clock.
 */
export class TenantLeases {
  private readonly owned = new Map<bigint, Owned>();
  private readonly swept = new WeakMap<Tenant, number>();
  private sweepAt = MANY;

  /**
   * Notes that a lease was granted or renewed: it lives for `ttl` more seconds. One that is known stays with its tenant, whoever
   * renews it: otherwise a tenant could hold more than its limit, with the help of others.
   */
  renewed(id: bigint, ttl: number, tenant: Tenant | undefined, now: number): void {
    const until = now + ttl * 1_000;
    const known = this.owned.get(id);
    if (known !== undefined) {
      known.until = until;
      return;
    }
    if (tenant === undefined) return;
    this.owned.set(id, { tenant, until });
    tenant.liveLeases++;
    if (this.owned.size < this.sweepAt) return;
    this.forgetExpired(now);
    this.sweepAt = Math.max(MANY, 2 * this.owned.size);
  }

  /** Notes that a lease has ended. */
  ended(id: bigint): void {
    const known = this.owned.get(id);
    if (known === undefined) return;
    this.owned.delete(id);
    known.tenant.liveLeases--;
  }

  /** Forgets expired leases of all tenants, if it is time for that again because of this one. */
  sweep(tenant: Tenant, now: number): void {
    if (now - (this.swept.get(tenant) ?? Number.NEGATIVE_INFINITY) < SWEEP_MS) return;
    this.swept.set(tenant, now);
    this.forgetExpired(now);
  }

  private forgetExpired(now: number): void {
    for (const [id, { until }] of this.owned) if (until <= now) this.ended(id);
  }
}
