import type { Change } from "../reshard/change.js";
import { mappedShards } from "../reshard/neededShards.js";
import { moveFrom, Placement, type PlacementState } from "../reshard/placement.js";
import type { Entry, LeaseOp } from "./entry.js";
import { type Applied, Fold, type FoldState } from "./fold.js";
import { NO_SHARD, type Run } from "./view.js";

/** The state of a `StoreFold` as plain data. */
export interface StoreState {
  readonly timeline: FoldState;
  readonly placement: PlacementState;
  /** Position = host revision + this offset. So positions keep rising when the log moves to another host. */
  readonly positionOffset: number;
}

/** The fold of a store whose keys can move between shards: timeline and placement, from one log. */
export class StoreFold extends Fold {
  readonly placement: Placement;
  /** The shards that can have parts of leases, as of the change at `mappedAt`. */
  private mapped: ReadonlySet<number> = new Set();
  private mappedAt = -1;
  /** Shard → position of the newest change that removed it. Since this fold was loaded. */
  private readonly removedAt = new Map<number, number>();

  private constructor(
    host: number,
    private readonly stored: StoreState,
  ) {
    super(host, stored.timeline);
    this.placement = new Placement(stored.placement);
  }

  /** Continues from `state`, which the caller must not use afterwards. `host` is the timeline host's shard index, or -1. */
  static of(host: number, state: StoreState): StoreFold {
    return new StoreFold(host, state);
  }

  /**
   * The fold for the log's next host. The old host's revision `hostRevision` is the one that moves the log. The log's own
   * writes on the old host that are not sealed yet get revisions without events.
   */
  rehosted(host: number, hostRevision: number): StoreFold {
    const timeline = { ...this.stored.timeline, hidden: [] };
    return new StoreFold(host, {
      timeline,
      placement: this.stored.placement,
      positionOffset: this.positionOf(hostRevision),
    });
  }

  /** The current state. The caller must not change it, and must not keep it beyond this turn. */
  get store(): StoreState {
    return this.stored;
  }

  /** The position of the entry at `hostRevision` on the current host. Later entries have higher positions, on later hosts too. */
  positionOf(hostRevision: number): number {
    return this.stored.positionOffset + hostRevision;
  }

  /** From here on, gen on the shard is above zero: whoever does not know the end of the sole store cannot write. */
  override endSole(hostRevision: number, compactRevision: number): void {
    super.endSole(hostRevision, compactRevision);
    this.stored.placement.position = this.positionOf(hostRevision);
  }

  override apply(entry: Entry, hostRevision: number): Applied {
    const applied = super.apply(entry, hostRevision);
    if (applied.compacted) this.placement.compact(this.compactRevision);
    return applied;
  }

  protected override applyChange(change: Change, hostRevision: number): number {
    const position = this.positionOf(hostRevision);
    const effect = this.placement.apply(change, position, this.head);
    if (effect === undefined) return 0;
    const { state } = this;
    for (const { index, cut } of effect.added) {
      if (index === state.table.shardCount) state.table.addShard();
      state.cut[index] = Math.max(cut, state.cut[index] ?? 0);
    }
    if (effect.takesRevision) state.revision++;
    if (change.kind === "done") this.forgetParts(position);
    return position;
  }

  /** Ignores a part on a shard that has left the store, because its writer did not know that yet. */
  protected override applyLease(op: LeaseOp): void {
    if (op.kind === "unplace" || this.canHaveParts(op.shard)) super.applyLease(op);
  }

  /**
   * Position of the newest change at which leases have lost their parts on this shard, because a plan has removed it; 0 if there
   * was none since the log was loaded.
   */
  partsForgottenAt(shard: number): number {
    return this.removedAt.get(shard) ?? 0;
  }

  /** Forgets the parts of leases on shards that the plan has removed. They hold no keys. */
  private forgetParts(position: number): void {
    const { cut, placements } = this.state;
    for (const shard of cut.keys()) if (!this.canHaveParts(shard)) this.removedAt.set(shard, position);
    for (const [lease, shards] of placements) {
      for (const shard of shards) if (!this.canHaveParts(shard)) shards.delete(shard);
      if (shards.size === 0) placements.delete(lease);
    }
  }

  private canHaveParts(shard: number): boolean {
    const { placement } = this.stored;
    if (this.mappedAt !== placement.position) {
      this.mapped = mappedShards(placement);
      this.mappedAt = placement.position;
    }
    return this.mapped.has(shard);
  }

  /** Adopts the ids of clusters that a new base changed. */
  identify(before: readonly string[], after: readonly string[]): void {
    for (const [index, clusterId] of after.entries()) {
      const shard = this.stored.placement.shards[index];
      const isChanged = before[index] !== undefined && before[index] !== clusterId;
      if (shard !== undefined && isChanged) this.stored.placement.shards[index] = { ...shard, clusterId };
    }
  }

  /** Adopts the endpoints in a new base of shards whose endpoints no entry has told: those of the store's first map. */
  learnEndpoints(endpoints: readonly (readonly string[])[]): void {
    const { shards } = this.stored.placement;
    for (const [index, known] of endpoints.entries()) {
      const shard = shards[index];
      if (shard?.endpoints.length === 0) shards[index] = { ...shard, endpoints: known };
    }
  }

  /** As in `Fold`, except that an import has the revision of its twin. */
  override toRevision(shard: number, shardRevision: number): number {
    const { twins } = this.stored.placement;
    if (twins.isEmpty) return super.toRevision(shard, shardRevision);
    return twins.revisionOf(shard, shardRevision) ?? super.toRevision(shard, shardRevision);
  }

  /** All shard revisions of `shard` that clients see as `revision`: its imports, and its own write if it has one. */
  shardRevisionsOf(revision: number, shard: number): number[] {
    const own = this.toShardRevision(revision, shard);
    const imports = this.stored.placement.twins.shardRevisionsOf(shard, revision);
    return own === undefined ? imports : [...imports, own];
  }

  /** The number to add to the version of a key of `shard` that was created at `life`, a shard revision. */
  versionOffset(shard: number, life: number): number {
    return this.stored.placement.offsets.of(shard, life);
  }

  override runAt(revision: number): Run {
    const { moves } = this.stored.placement;
    if (moves.length > 0 && moves[moveFrom(moves, revision)]?.revision === revision) {
      return { revision, shard: NO_SHARD, shardRevision: 0, length: 1 };
    }
    return super.runAt(revision);
  }
}
