import { Code, StatusError } from "../../src/status/error.js";
import type { SimProxy } from "./proxy.js";
import type { World } from "./world.js";

/** What clients know of a lease, to check its end against. */
export interface LeaseRecord {
  readonly id: bigint;
  /** Seconds. */
  readonly ttl: number;
  /** When the last renewal with a response was sent, ms. */
  renewedAt: number;
  /** True if a client wants its end, or got a response that it is dead. */
  mayEnd: boolean;
  /**
   * True if something went wrong while a part was being placed. Then the proxies may lack the proof that a missing part was
   * never granted, and the lease may end early.
   */
  excused: boolean;
  /** Number of placements under way. */
  placing: number;
  /** When the first of its parts ended, ms. */
  firstEnd: number | undefined;
  /** When the last of them ended, ms. */
  allGone: number | undefined;
}

/** How the lease ends. */
export type Fate = "revoke" | "lapse" | "keep";

/** A client with a lease. It keeps the lease alive through any proxy, and puts keys under it. */
export class LeaseHolder {
  record: LeaseRecord | undefined;
  /** True once it has done all its work. */
  done = false;
  private stopped = false;

  constructor(
    private readonly world: World,
    private readonly ttl: number,
    private readonly life: number,
    private readonly fate: Fate,
  ) {
    void this.run().finally(() => {
      this.done = true;
    });
  }

  /** Lets the lease expire. */
  stop(): void {
    this.stopped = true;
  }

  private async run(): Promise<void> {
    const { world, ttl } = this;
    const { scheduler, random } = world;
    const record = await this.grant();
    if (record === undefined) return;
    this.record = record;
    const end = scheduler.now + this.life;
    let nextRenewal = scheduler.now;
    while (!this.stopped && !record.mayEnd && (this.fate === "keep" || scheduler.now < end)) {
      if (scheduler.now >= nextRenewal) {
        nextRenewal = scheduler.now + (ttl * 1_000) / 3;
        this.renew(record);
      }
      if (random.chance(0.3) && scheduler.now < end) void this.put(record);
      await scheduler.sleep(50 + random.below(300));
    }
    if (this.fate === "revoke") await this.revoke(record);
  }

  private async grant(): Promise<LeaseRecord | undefined> {
    const { world, ttl } = this;
    const { scheduler } = world;
    const begin = scheduler.now;
    try {
      const { id } = await world.by((proxy) => proxy.leases.grant(0n, ttl));
      const record = {
        id,
        ttl,
        renewedAt: begin,
        mayEnd: false,
        excused: false,
        placing: 0,
        firstEnd: undefined,
        allGone: undefined,
      };
      world.leases.set(id, record);
      return record;
    } catch {
      return undefined;
    }
  }

  private renew(record: LeaseRecord): void {
    const { world } = this;
    const proxy = world.anyProxy();
    if (proxy === undefined) return;
    const begin = world.scheduler.now;
    const renewed = (error: StatusError | undefined, ttl: number) => {
      if (error !== undefined) return;
      if (ttl > 0) record.renewedAt = Math.max(record.renewedAt, begin);
      else world.saidDead(record, true);
    };
    proxy.clock.after(world.random.below(5), () => {
      if (proxy.isReady) proxy.leases.renew(record.id, renewed);
    });
  }

  private async put(record: LeaseRecord): Promise<void> {
    const { world } = this;
    const { random } = world;
    const key = world.anyKey();
    const upheavals = world.upheavals;
    record.placing++;
    if (world.scheduler.now < world.troubledUntil) record.excused = true;
    let proxy: SimProxy | undefined;
    try {
      await world.by((one) => {
        proxy = one;
        return one.put(key, `lease ${random.below(1_000)}`, record.id);
      });
    } catch (reason) {
      if (StatusError.from(reason).code !== Code.NOT_FOUND) record.excused = true;
      else world.saidDead(record, false);
    }
    if (proxy === undefined || !proxy.clock.isAlive || world.upheavals !== upheavals) record.excused = true;
    record.placing--;
  }

  private async revoke(record: LeaseRecord): Promise<void> {
    record.mayEnd = true;
    await this.world.by((proxy) => proxy.leases.revoke(record.id)).catch(() => undefined);
  }
}
