import { type Bound, compareBounds, START } from "./bound.js";
import type { Change, MoveDestination, MoveSource, PlanShard } from "./change.js";
import { OffsetTable } from "./offsets.js";
import { TwinTable } from "./twins.js";

/** A step whose calls wait. */
export interface Frozen {
  /** Position of the freeze. */
  readonly position: number;
  readonly from: Bound;
  readonly to: Bound;
  /** The store's revision at the freeze: nothing of the step is decided above it. */
  readonly revision: number;
}

/** The plan that is being carried out. Keys below the cursor are placed by `below`, all others by `above`. */
export interface Plan {
  readonly number: number;
  /** Map texts, see `fingerprint`. */
  readonly below: string;
  readonly above: string;
  /** The sweep goes up, from `above` to `below`; down when the plan was turned back (or back again). */
  readonly up: boolean;
  readonly cursor: Bound;
  readonly frozen: Frozen | undefined;
}

/** A step that has been moved: of the keys in [from, to) those whose shard differs between the two maps. */
export interface Move {
  /** M: a revision of its own. Below it the sources hold the keys, from it on the destinations. */
  readonly revision: number;
  /** Position of the freeze. */
  readonly freeze: number;
  /** The store's revision at the freeze. */
  readonly frozenAt: number;
  readonly from: Bound;
  readonly to: Bound;
  /** Map texts. */
  readonly source: string;
  readonly destination: string;
  /** Source shard → stop. */
  readonly stops: ReadonlyMap<number, number>;
  /** Destination shard → ready. */
  readonly readies: ReadonlyMap<number, number>;
  /** Keys that end at M, because their leases had ended. */
  readonly ended: readonly Uint8Array[];
}

/** Everything that placement knows, as plain data: what a base stores. */
export interface PlacementState {
  /** All shards that the store ever had, by index. */
  shards: PlanShard[];
  /** Number of the newest plan; 0 before the first. */
  plans: number;
  /** Text of the map in force: that of the last plan that is done. */
  inForce: string;
  plan: Plan | undefined;
  /** Position of the newest claim: the mover's name. 0 before the first. */
  mover: number;
  /** In order of their revisions; until compaction has passed them. */
  moves: Move[];
  twins: TwinTable;
  offsets: OffsetTable;
}

/** A new store, or one that has not been resharded. */
export const firstPlacement = (map: string, shards: readonly PlanShard[]): PlacementState => ({
  shards: [...shards],
  plans: 0,
  inForce: map,
  plan: undefined,
  mover: 0,
  moves: [],
  twins: new TwinTable(),
  offsets: new OffsetTable(),
});

/** What a valid change asks of the timeline. */
export interface Effect {
  /** Shards whose part of the timeline begins at their `cut`. */
  readonly added: readonly PlanShard[];
  /** True when the change takes the next revision for itself. */
  readonly takesRevision: boolean;
}

const NOTHING: Effect = { added: [], takesRevision: false };

/**
 * The part of the fold that decides where keys are. Every proxy applies the same changes in the same order and gets the
 * same placement.
 */
export class Placement {
  constructor(private readonly state: PlacementState) {}

  /** The state, to be read (not kept, not changed). */
  snapshot(): Readonly<PlacementState> {
    return this.state;
  }

  /** True when the sweep of the plan has nothing before it any more. */
  get isSwept(): boolean {
    const { plan } = this.state;
    return plan !== undefined && compareBounds(plan.cursor, plan.up ? null : START) === 0;
  }

  /**
   * Applies the change that stands at `position`; `revision` is the store's, the entry's own seals included. Undefined when
   * the change is not valid: then it does nothing.
   */
  apply(change: Change, position: number, revision: number): Effect | undefined {
    switch (change.kind) {
      case "plan":
        return this.applyPlan(change);
      case "claim":
        this.state.mover = position;
        return NOTHING;
      case "begin":
        return this.isMover(change.mover) ? NOTHING : undefined;
      case "freeze":
        return this.applyFreeze(change, position, revision);
      case "thaw":
        return this.applyThaw(change);
      case "move":
        return this.applyMove(change, revision + 1);
      case "done":
        return this.applyDone(change.plan);
      case "turn back":
        return this.applyTurnBack(change.plan);
    }
  }

  /** Forgets the moves that a compaction at `revision` has passed. */
  compact(revision: number): void {
    const { state } = this;
    if (state.moves.length > 0 && state.moves[0].revision < revision) {
      state.moves = state.moves.filter((move) => move.revision >= revision);
    }
  }

  protected isMover(name: number): boolean {
    return name === this.state.mover;
  }

  private applyPlan({ after, map, shards }: Change & { kind: "plan" }): Effect | undefined {
    const { state } = this;
    if (state.plan !== undefined || after !== state.plans) return undefined;
    // A shard is new or comes back: the next free index, or one whose cluster it was.
    let count = state.shards.length;
    for (const { index } of shards) {
      if (index > count) return undefined;
      if (index === count) count++;
    }
    for (const shard of shards) state.shards[shard.index] = shard;
    state.plans++;
    state.plan = {
      number: state.plans,
      below: map,
      above: state.inForce,
      up: true,
      cursor: START,
      frozen: undefined,
    };
    return { added: shards, takesRevision: false };
  }

  private applyFreeze(
    { mover, plan: number, cursor, to }: Change & { kind: "freeze" },
    position: number,
    revision: number,
  ): Effect | undefined {
    const { plan } = this.state;
    if (plan === undefined || !this.isMover(mover) || plan.number !== number) return undefined;
    if (plan.frozen !== undefined || compareBounds(plan.cursor, cursor) !== 0) return undefined;
    const ahead = compareBounds(to, cursor);
    if (plan.up ? ahead <= 0 : ahead >= 0) return undefined;
    const [low, high] = plan.up ? [cursor, to] : [to, cursor];
    this.state.plan = { ...plan, frozen: { position, from: low, to: high, revision } };
    return NOTHING;
  }

  private applyThaw({ mover, freeze }: Change & { kind: "thaw" }): Effect | undefined {
    const { plan } = this.state;
    if (plan?.frozen?.position !== freeze || !this.isMover(mover)) return undefined;
    this.state.plan = { ...plan, frozen: undefined };
    return NOTHING;
  }

  private applyMove(
    { mover, freeze, sources, destinations, ended }: Change & { kind: "move" },
    revision: number,
  ): Effect | undefined {
    const { state } = this;
    const { plan } = state;
    if (plan?.frozen?.position !== freeze || !this.isMover(mover)) return undefined;
    const { from, to, revision: frozenAt } = plan.frozen;
    state.moves.push({
      revision,
      freeze,
      frozenAt,
      from,
      to,
      source: plan.up ? plan.above : plan.below,
      destination: plan.up ? plan.below : plan.above,
      stops: new Map(sources.map(({ shard, stop }: MoveSource) => [shard, stop])),
      readies: new Map(destinations.map(({ shard, ready }: MoveDestination) => [shard, ready])),
      ended,
    });
    for (const { shard, twins, offsets } of destinations) {
      state.twins.add(shard, twins);
      state.offsets.add(shard, offsets);
    }
    state.plan = { ...plan, cursor: plan.up ? to : from, frozen: undefined };
    return { added: [], takesRevision: true };
  }

  private applyDone(number: number): Effect | undefined {
    const { state } = this;
    const { plan } = state;
    if (plan === undefined || plan.number !== number || !this.isSwept) return undefined;
    state.inForce = plan.up ? plan.below : plan.above;
    state.plan = undefined;
    return NOTHING;
  }

  private applyTurnBack(number: number): Effect | undefined {
    const { plan } = this.state;
    if (plan === undefined || plan.number !== number || plan.frozen !== undefined) return undefined;
    // The new number makes a repeated entry name another plan, and late ones of the mover as well.
    this.state.plan = { ...plan, number: ++this.state.plans, up: !plan.up };
    return NOTHING;
  }
}
