import type { Plan } from "../reshard/placement.js";
import { etcd } from "../status/etcd.js";
import type { LeaseDeps } from "./deps.js";
import { pause } from "./pause.js";
import type { Placing } from "./placing.js";
import { isReserved } from "./reserved.js";

/** A grant that takes longer than this, in milliseconds, reads the log's end again. */
export const GRANT_MS = 1_000;
/**
 * Milliseconds between the first and the last search for leases of a plan. A grant that began before its proxy could know of
 * the plan has reached its shard by then, or reads the log's end again and finds the plan.
 */
const SETTLE_MS = 2 * GRANT_MS;
const MAX_CONCURRENT_LEASES = 64;

/**
 * Gives leases the parts that they need when a plan ends. Then the map of the plan decides about their homes, and a shard that
 * was a home becomes an ordinary part.
 */
export class Preparing {
  /** The newest plan for which `prepare` was called, and when that was first. */
  private begun: { readonly plan: number; readonly at: number } | undefined;

  constructor(
    private readonly deps: LeaseDeps,
    private readonly placing: Placing,
  ) {}

  /** See `Leases.prepareHomes`. */
  async prepare({ number }: Plan, lost: ReadonlySet<number>): Promise<void> {
    const { timeline, runtime } = this.deps;
    const now = runtime.now();
    if (this.begun?.plan !== number) this.begun = { plan: number, at: now };
    else await pause(runtime, this.begun.at + SETTLE_MS - now);
    const present = await this.list(lost);
    // After the lists: a part is logged before it is granted.
    await timeline.sync();
    const { placement } = timeline;
    if (placement.plan?.number !== number) return;
    await forEach(this.leftBehind(present), (part) => this.endLeftBehind(part));
    await forEach(this.needed(present), (lease) => this.prepareOrHeal(lease, present));
  }

  /**
   * Gives a lease what the active plan needs: a part at its next home, and a record that its present home has a part. Does
   * nothing if its home stays the same. Rejects with `leaseNotFound`, or with UNAVAILABLE if a shard or the timeline host
   * cannot be reached.
   */
  async prepareLease(lease: bigint): Promise<void> {
    const { homes, timeline } = this.deps;
    const next = homes.next(lease);
    if (next === undefined) return;
    // One after the other: if this rejects, nothing is logged later.
    await timeline.place(lease, homes.of(lease));
    await this.placing.ensurePlaced(lease, next);
  }

  /** Shard → the leases that it has, of the shards that are not lost. */
  private async list(lost: ReadonlySet<number>): Promise<ReadonlyMap<number, ReadonlySet<bigint>>> {
    const { calls, homes, shards } = this.deps;
    const inUse = shards.entries().filter(([shard]) => homes.isInUse(shard) && !lost.has(shard));
    const lists = inUse.map(async ([shard]) => [shard, new Set(await calls.list(shard))] as const);
    return new Map(await Promise.all(lists));
  }

  /**
   * Parts on shards that come back into the store. Their leases have given them up since, and may have ended. The end of the plan
   * could make the shard their home.
   */
  private leftBehind(present: ReadonlyMap<number, ReadonlySet<bigint>>): { shard: number; lease: bigint }[] {
    const { homes, timeline } = this.deps;
    return [...present].flatMap(([shard, leases]) => {
      if (homes.hasHomes(shard)) return [];
      const left = [...leases].filter(
        (lease) => !isReserved(lease) && !timeline.placements.get(lease)?.has(shard),
      );
      return left.map((lease) => ({ shard, lease }));
    });
  }

  /**
   * Ends a part that was left behind, if its lease has ended. If not, another proxy may place it there at this moment, and needs
   * it: with the part, the keys would go that have it by then. Another TTL is that of an earlier lease with the same id.
   */
  private async endLeftBehind({ shard, lease }: { shard: number; lease: bigint }): Promise<void> {
    const { calls, homes } = this.deps;
    const [home, part] = await Promise.all([calls.look(homes.of(lease), lease), calls.look(shard, lease)]);
    if (part !== undefined && home?.grantedTtl !== part.grantedTtl) await calls.revoke(shard, lease);
  }

  /** The leases that do not have all that they need. */
  private needed(present: ReadonlyMap<number, ReadonlySet<bigint>>): bigint[] {
    const { homes, timeline } = this.deps;
    const needed: bigint[] = [];
    for (const [shard, leases] of present) {
      if (!homes.hasHomes(shard)) continue;
      for (const lease of leases) {
        if (homes.of(lease) !== shard || isReserved(lease)) continue;
        const next = homes.next(lease);
        if (next === undefined) continue;
        const placed = timeline.placements.get(lease);
        const isReady = placed?.has(next) && placed.has(shard) && present.get(next)?.has(lease);
        if (!isReady) needed.push(lease);
      }
    }
    return needed;
  }

  private async prepareOrHeal(
    lease: bigint,
    present: ReadonlyMap<number, ReadonlySet<bigint>>,
  ): Promise<void> {
    const next = this.deps.homes.next(lease);
    if (next === undefined) return;
    try {
      await this.prepareLease(lease);
      // The proxy that placed it may have died before it granted the part.
      if (!present.get(next)?.has(lease)) await this.placing.heal(lease, next);
    } catch (error) {
      // It has ended.
      if (!etcd.leaseNotFound.is(error)) throw error;
    }
  }
}

/** Calls `act` for each item, for a bounded number at a time. Rejects with the first rejection. */
async function forEach<T>(items: readonly T[], act: (item: T) => Promise<unknown>): Promise<void> {
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) await act(item);
  };
  await Promise.all(Array.from({ length: Math.min(MAX_CONCURRENT_LEASES, items.length) }, worker));
}
