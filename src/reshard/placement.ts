// Indices below are in range by construction; `!` keeps the lookups free of checks.
import { parseMap } from "../routing/fingerprint.js";
import { type Bound, compareBounds, START } from "./bound.js";
import type { Change, MoveDestination, MoveSource, PlanShard } from "./change.js";
import { OffsetTable } from "./offsets.js";
import { TwinTable } from "./twins.js";

/** A frozen step. Calls to it wait. */
export interface Frozen {
  /** Position of the freeze. */
  readonly position: number;
  readonly from: Bound;
  readonly to: Bound;
  /** The store's revision at the freeze. Nothing of the step is decided above it. */
  readonly revision: number;
}

/** The active plan. Keys below the cursor are placed by the map `below`, all others by `above`. */
export interface Plan {
  readonly number: number;
  /** Map texts; see `fingerprint`. */
  readonly below: string;
  readonly above: string;
  /** True when the sweep goes up, from `above` to `below`. Each turn back reverses it. */
  readonly up: boolean;
  readonly cursor: Bound;
  readonly frozen: Frozen | undefined;
}

/** A completed step: the keys in [from, to) whose shard differs between the two maps. */
export interface Move {
  /** M, the revision that the move takes. Below it the sources hold the keys, from it on the destinations. */
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
  /** Keys that end at M because their lease ended during the step. */
  readonly ended: readonly Uint8Array[];
}

/** Most shards that a store can have over time. Segments and bases keep the index of a shard in one byte. */
export const MAX_INDICES = 256;
/** Most maps in `PlacementState.earlier`. They are in each base. */
const MAX_EARLIER_MAPS = 16;

/** The state of a placement as plain data, as a base stores it. */
export interface PlacementState {
  /** All shards that the store has had, by index. */
  shards: PlanShard[];
  /** Number of the newest plan; 0 before the first. */
  plans: number;
  /** Text of the map in force: the first one, or that of the last plan that ended. */
  inForce: string;
  /** Texts of maps that plans have left, the newest last: a proxy's file may still have one of them. */
  earlier: readonly string[];
  plan: Plan | undefined;
  /** Position of the newest claim, which names the mover; 0 before the first. */
  mover: number;
  /** Position of the newest valid change; 0 before the first. */
  position: number;
  /**
   * The store's revision at the newest `done`, after its entry's seals; 0 before the first. From there on, until the next
   * plan, no shard holds keys of other shards: the mover has deleted what was left, and the entry has sealed that.
   */
  cleanFrom: number;
  /** Moves that no compaction has passed, in order of revision. */
  moves: Move[];
  twins: TwinTable;
  offsets: OffsetTable;
}

/**
 * The index in `moves`, which are in order of revision, of the first one at or above `revision`. There may be thousands, and a
 * watch asks for each event.
 */
export function moveFrom(moves: readonly Move[], revision: number): number {
  let low = 0;
  let high = moves.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (moves[middle]!.revision < revision) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The shards of a store after a plan that needs `added`. A new one has the next free index, one that comes back its earlier
 * index. Maps name their shards, so a name always means the same index. Returns undefined if that is not so.
 */
function withShards(shards: readonly PlanShard[], added: readonly PlanShard[]): PlanShard[] | undefined {
  const known = [...shards];
  for (const shard of added) {
    const earlier = known.findIndex(({ name }) => name === shard.name);
    if (shard.index !== (earlier < 0 ? known.length : earlier) || shard.index >= MAX_INDICES)
      return undefined;
    known[shard.index] = shard;
  }
  return known;
}

/** True if the map with this text names only shards of the store. Throws `ShardMapError` if the text is not a map. */
function hasShardsOf(map: string, shards: readonly PlanShard[]): boolean {
  const names = new Set(shards.map(({ name }) => name));
  return parseMap(map).shards.every(({ name }) => names.has(name));
}

/** The placement of a store that has never had a plan. */
export const firstPlacement = (map: string, shards: readonly PlanShard[]): PlacementState => ({
  shards: [...shards],
  plans: 0,
  inForce: map,
  earlier: [],
  plan: undefined,
  mover: 0,
  position: 0,
  cleanFrom: 0,
  moves: [],
  twins: new TwinTable(),
  offsets: new OffsetTable(),
});

/** The effect of a valid change on the timeline. */
export interface Effect {
  /** Shards whose part of the timeline begins after their `cut`. */
  readonly added: readonly PlanShard[];
  /** True when the change takes the next revision, which has no event on any shard. */
  readonly takesRevision: boolean;
}

const NO_EFFECT: Effect = { added: [], takesRevision: false };

/**
 * The part of the fold that decides where keys are. Every proxy applies the same changes in the same order, so all proxies
 * compute the same placement.
 */
export class Placement {
  constructor(private readonly state: PlacementState) {}

  /** The current state. The caller must not change it, and must not keep it beyond this turn. */
  snapshot(): Readonly<PlacementState> {
    return this.state;
  }

  /** True when the cursor of the active plan has reached its end. */
  get isSwept(): boolean {
    const { plan } = this.state;
    return plan !== undefined && compareBounds(plan.cursor, plan.up ? null : START) === 0;
  }

  /**
   * Applies the change of the entry at `position`. `revision` is the store's revision after the entry's own seals. Returns
   * undefined when the change is not valid; then it has done nothing.
   */
  apply(change: Change, position: number, revision: number): Effect | undefined {
    const effect = this.effectOf(change, position, revision);
    if (effect !== undefined) this.state.position = position;
    return effect;
  }

  private effectOf(change: Change, position: number, revision: number): Effect | undefined {
    switch (change.kind) {
      case "plan":
        return this.applyPlan(change);
      case "claim":
        this.state.mover = position;
        return NO_EFFECT;
      case "begin":
        return this.isMover(change.mover) ? NO_EFFECT : undefined;
      case "freeze":
        return this.applyFreeze(change, position, revision);
      case "thaw":
        return this.applyThaw(change);
      case "move":
        return this.applyMove(change, revision + 1);
      case "done":
        return this.applyDone(change.plan, revision);
      case "turn back":
        return this.applyTurnBack(change.plan);
    }
  }

  /** Drops the moves that a compaction at `revision` has passed. */
  compact(revision: number): void {
    const { state } = this;
    const oldest = state.moves.at(0);
    if (oldest !== undefined && oldest.revision < revision) {
      state.moves = state.moves.filter((move) => move.revision >= revision);
    }
  }

  protected isMover(name: number): boolean {
    return name === this.state.mover;
  }

  private applyPlan({ after, map, shards }: Change & { kind: "plan" }): Effect | undefined {
    const { state } = this;
    if (state.plan !== undefined || after !== state.plans) return undefined;
    const known = withShards(state.shards, shards);
    if (known === undefined || !hasShardsOf(map, known)) return undefined;
    state.shards = known;
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
    return NO_EFFECT;
  }

  private applyThaw({ mover, freeze }: Change & { kind: "thaw" }): Effect | undefined {
    const { plan } = this.state;
    if (plan?.frozen?.position !== freeze || !this.isMover(mover)) return undefined;
    this.state.plan = { ...plan, frozen: undefined };
    return NO_EFFECT;
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

  private applyDone(number: number, revision: number): Effect | undefined {
    const { state } = this;
    const { plan } = state;
    if (plan === undefined || plan.number !== number || !this.isSwept) return undefined;
    const [reached, left] = plan.up ? [plan.below, plan.above] : [plan.above, plan.below];
    state.inForce = reached;
    const others = state.earlier.filter((map) => map !== reached && map !== left);
    state.earlier = [...others, left].slice(-MAX_EARLIER_MAPS);
    state.plan = undefined;
    state.cleanFrom = revision;
    return NO_EFFECT;
  }

  private applyTurnBack(number: number): Effect | undefined {
    const { plan } = this.state;
    if (plan === undefined || plan.number !== number || plan.frozen !== undefined) return undefined;
    // With the new number, a repeated turn back and late changes of the mover are no longer valid.
    this.state.plan = { ...plan, number: ++this.state.plans, up: !plan.up };
    return NO_EFFECT;
  }
}
