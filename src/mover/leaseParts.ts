import type { MoverLog } from "./log.js";
import type { MoverShard } from "./shard.js";

/** Parts of leases that are placed at the same time. */
const PARTS_AT_ONCE = 1_000;

/** The part of a lease that copies on a destination need. */
interface Need {
  readonly lease: bigint;
  readonly target: number;
}

/** The parts of leases on the destinations of a step. */
export class LeaseParts {
  /** Names of the parts that were found. */
  private readonly known = new Set<string>();

  constructor(
    private readonly deps: { readonly log: MoverLog; readonly shardOf: (index: number) => MoverShard },
  ) {}

  /** Grants the parts that keys of a source need. Returns the names of those that are there. */
  async place(source: number, needed: readonly Need[]): Promise<ReadonlySet<string>> {
    const alive = new Set<string>();
    const missing = new Map<string, Need>();
    for (const need of needed) {
      const name = partName(need.lease, need.target);
      if (this.known.has(name)) alive.add(name);
      else missing.set(name, need);
    }
    const wanted = [...missing];
    for (let at = 0; at < wanted.length; at += PARTS_AT_ONCE) {
      const placed = wanted.slice(at, at + PARTS_AT_ONCE).map(async ([name, { lease, target }]) => {
        if (!(await this.placePart(lease, source, target))) return;
        this.known.add(name);
        alive.add(name);
      });
      await Promise.all(placed);
    }
    return alive;
  }

  /** A destination does not have the part any more. */
  forget(lease: bigint, target: number): void {
    this.known.delete(partName(lease, target));
  }

  /** Grants a part of a lease on a destination. False when the lease has ended. */
  private async placePart(lease: bigint, source: number, index: number): Promise<boolean> {
    const { log, shardOf } = this.deps;
    const shard = shardOf(index);
    const hasPart = log.placements.get(lease)?.has(index) === true;
    if (hasPart && (await shard.leaseTtl(lease)) !== undefined) return true;
    const ttl = await shardOf(source).leaseTtl(lease);
    if (ttl === undefined) return false;
    if (!hasPart) await log.place(lease, index);
    // The lease may have ended before it was placed here. So check its part on the source after the log has the new part.
    await shard.grant(lease, ttl);
    if ((await shardOf(source).leaseTtl(lease)) !== undefined) return true;
    await shard.endPart(lease);
    return false;
  }
}

export const partName = (lease: bigint, shard: number): string => `${lease}/${shard}`;
