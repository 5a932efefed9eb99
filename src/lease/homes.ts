import { mappedShards, shardsOfMap } from "../reshard/neededShards.js";
import type { Router } from "../routing/router.js";
import type { Timeline } from "../timeline/view.js";

/** Where leases live, as far as the placement is folded here. */
export class Homes {
  /** Position up to which the sets below are known. */
  private known = -1;
  private mapped: ReadonlySet<number> = new Set();
  private inForce: ReadonlySet<number> = new Set();

  constructor(
    private readonly timeline: Pick<
      Timeline,
      "placement" | "placementPosition" | "locator" | "sync" | "partsForgottenAt"
    >,
    private readonly router: Pick<Router, "homeOf">,
  ) {}

  /** Position of the newest change of the placement. While it stays the same, no lease changes its home. */
  get position(): number {
    return this.timeline.placementPosition;
  }

  /** Index of the shard that is a lease's home: by the map in force, also during a plan. */
  of(lease: bigint): number {
    return this.router.homeOf(lease);
  }

  /** The home that the lease gets when the active plan ends. Undefined if it stays where it is. */
  next(lease: bigint): number | undefined {
    const { plan, inForce } = this.timeline.placement;
    if (plan === undefined) return undefined;
    const target = plan.up ? plan.below : plan.above;
    if (target === inForce) return undefined;
    const next = this.timeline.locator.router(target).homeOf(lease);
    return next === this.of(lease) ? undefined : next;
  }

  /** Whether leases have their homes on the shard. */
  hasHomes(shard: number): boolean {
    this.learn();
    return this.inForce.has(shard);
  }

  /** Whether leases can have parts on the shard. Other shards have left the store, and hold no keys. */
  isInUse(shard: number): boolean {
    this.learn();
    return this.mapped.has(shard);
  }

  /** Whether leases have lost their parts on the shard since `position`, because it left the store. It may be back. */
  hasLeftSince(position: number, shard: number): boolean {
    return !this.isInUse(shard) || this.timeline.partsForgottenAt(shard) > position;
  }

  /**
   * Reads and folds the log's end, before a lease counts as dead because a shard does not have it: a plan of which this proxy
   * has not read may have given the lease another home. Rejects with UNAVAILABLE if the host does not respond, except in a
   * store that has had no plan as far as is known.
   */
  async catchUp(): Promise<void> {
    try {
      await this.timeline.sync();
    } catch (error) {
      if (this.position > 0) throw error;
    }
  }

  private learn(): void {
    if (this.known === this.position) return;
    const { placement } = this.timeline;
    this.mapped = mappedShards(placement);
    this.inForce = new Set(shardsOfMap(placement.inForce, placement.shards));
    this.known = this.position;
  }
}
