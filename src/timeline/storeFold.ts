import type { Change } from "../reshard/change.js";
import { Placement, type PlacementState } from "../reshard/placement.js";
import type { Entry } from "./entry.js";
import { type Applied, Fold, type FoldState } from "./fold.js";
import { NO_SHARD, type Run } from "./view.js";

/** What a store whose keys can move knows besides `FoldState`. */
export interface StoreState {
  readonly timeline: FoldState;
  readonly placement: PlacementState;
  /** What a host revision lacks to be a position: positions go on rising when the log moves to another host. */
  readonly positionOffset: number;
}

/** The fold of a store whose keys can move: timeline and placement, from one log. */
export class StoreFold extends Fold {
  readonly placement: Placement;

  private constructor(
    host: number,
    private readonly stored: StoreState,
  ) {
    super(host, stored.timeline);
    this.placement = new Placement(stored.placement);
  }

  /** Takes the state over. `host` is the index of the shard that keeps the log, or -1. */
  static of(host: number, state: StoreState): StoreFold {
    return new StoreFold(host, state);
  }

  /**
   * The fold of the log's continuation on another host, after the host's revision `hostRevision` has said that it goes on there.
   * The old host's revisions that were the log's own and are not sealed yet get revisions at which nothing happens.
   */
  rehosted(host: number, hostRevision: number): StoreFold {
    const timeline = { ...this.stored.timeline, hidden: [] };
    return new StoreFold(host, {
      timeline,
      placement: this.stored.placement,
      positionOffset: this.positionOf(hostRevision),
    });
  }

  /** The state, to be read (not kept, not changed). */
  get store(): StoreState {
    return this.stored;
  }

  /** The position of what the host stored at `hostRevision`: later entries have higher ones, on whichever host. */
  positionOf(hostRevision: number): number {
    return this.stored.positionOffset + hostRevision;
  }

  override apply(entry: Entry, hostRevision: number): Applied {
    const applied = super.apply(entry, hostRevision);
    if (applied.compacted) this.placement.compact(this.compactRevision);
    return applied;
  }

  protected override applyChange(change: Change, hostRevision: number): boolean {
    const effect = this.placement.apply(change, this.positionOf(hostRevision), this.head);
    if (effect === undefined) return false;
    const { state } = this;
    for (const { index, cut } of effect.added) {
      if (index === state.table.shardCount) state.table.addShard();
      state.cut[index] = Math.max(cut, state.cut[index] ?? 0);
    }
    if (effect.takesRevision) state.revision++;
    return true;
  }

  /** As in a store whose keys do not move, but an import has the revision that it stands for. */
  override toRevision(shard: number, shardRevision: number): number {
    const twin = this.stored.placement.twins.revisionOf(shard, shardRevision);
    return twin ?? super.toRevision(shard, shardRevision);
  }

  /** All shard revisions of `shard` that clients know as `revision`. */
  shardRevisionsOf(revision: number, shard: number): number[] {
    const own = this.toShardRevision(revision, shard);
    const imports = this.stored.placement.twins.shardRevisionsOf(shard, revision);
    return own === undefined ? imports : [...imports, own];
  }

  override runAt(revision: number): Run {
    if (this.placement.snapshot().moves.some((move) => move.revision === revision)) {
      return { revision, shard: NO_SHARD, shardRevision: 0, length: 1 };
    }
    return super.runAt(revision);
  }
}
