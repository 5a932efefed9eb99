// Indices below are in range by construction; `!` keeps the lookups free of checks.
import { type Bound, compareBounds, isWithin, overlap, START } from "./bound.js";
import type { MapRouter, Maps } from "./maps.js";
import { type Move, moveFrom, type Placement } from "./placement.js";

/** The part of `TimelineView` that the locator needs. */
export interface Cuts {
  cutAt(revision: number, shard: number): number;
}

/** The shard that holds a key, and the shard revision to read it at. */
export interface Holder {
  readonly shard: number;
  readonly at: number;
}

/** A range of keys as in etcd's API: an empty `end` means the single key, one zero byte means no end. */
export interface KeyRange {
  readonly key: Uint8Array;
  readonly end: Uint8Array;
}

/**
 * Locates keys at present and past revisions. Pure: every result follows from the log, as far as it is folded at the call.
 */
export class Locator {
  constructor(
    private readonly placement: Pick<Placement, "snapshot">,
    private readonly maps: Maps,
    private readonly cuts: Cuts,
  ) {}

  /** The shard that serves `key` now. */
  shardOf(key: Uint8Array): number {
    const { plan, inForce } = this.placement.snapshot();
    if (plan === undefined) return this.router(inForce).shardOf(key);
    return this.router(compareBounds(key, plan.cursor) < 0 ? plan.below : plan.above).shardOf(key);
  }

  /** Shards that may hold keys of the range now, ascending. */
  shardsOf(range: KeyRange): readonly number[] {
    const { plan, inForce } = this.placement.snapshot();
    const { from, to } = boundsOf(range);
    if (plan === undefined) return this.shardsBetween(inForce, from, to);
    const shards = new Set<number>();
    for (const shard of this.shardsBetween(plan.below, from, lower(to, plan.cursor))) shards.add(shard);
    for (const shard of this.shardsBetween(plan.above, upper(from, plan.cursor), to)) shards.add(shard);
    return [...shards].sort((a, b) => a - b);
  }

  /** True when calls to the range must wait: it may hold keys of a frozen step. Exact for a single key. */
  isFrozen(range: KeyRange): boolean {
    const frozen = this.placement.snapshot().plan?.frozen;
    if (frozen === undefined) return false;
    const { from, to } = boundsOf(range);
    if (!overlap(from, to, frozen.from, frozen.to)) return false;
    return range.end.length > 0 || this.isInFrozenStep(range.key);
  }

  /** True when `key` belongs to the frozen step. */
  isInFrozenStep(key: Uint8Array): boolean {
    const { plan } = this.placement.snapshot();
    if (plan?.frozen === undefined || !isWithin(key, plan.frozen.from, plan.frozen.to)) return false;
    return this.router(plan.below).shardOf(key) !== this.router(plan.above).shardOf(key);
  }

  /**
   * The last revision up to which the holders and events of the range are decided: the store's revision at the freeze
   * while a step of the range is frozen, otherwise infinity.
   */
  decidedUntil(range: KeyRange): number {
    if (!this.isFrozen(range)) return Number.POSITIVE_INFINITY;
    return this.placement.snapshot().plan?.frozen?.revision ?? Number.POSITIVE_INFINITY;
  }

  /**
   * The holder of `key` at `revision`, which must not be below the compaction. Below M it is the source, read no later than
   * its stop. From M on it is the destination.
   */
  holder(key: Uint8Array, revision: number): Holder {
    const move = this.placement
      .snapshot()
      .moves.find((each) => each.revision > revision && this.isMoved(each, key));
    if (move === undefined) {
      const shard = this.shardOf(key);
      return { shard, at: this.cuts.cutAt(revision, shard) };
    }
    const shard = this.router(move.source).shardOf(key);
    return { shard, at: this.upToStop(move, shard, revision) };
  }

  /** All holders to read for the range's state at `revision`. `choose` selects the one that is right for a key. */
  holders(range: KeyRange, revision: number): Holder[] {
    const { from, to } = boundsOf(range);
    const found = new Map<string, Holder>();
    const add = (shard: number, at: number) => found.set(`${shard}/${at}`, { shard, at });
    for (const shard of this.shardsOf(range)) add(shard, this.cuts.cutAt(revision, shard));
    for (const move of this.placement.snapshot().moves) {
      if (move.revision <= revision || !overlap(from, to, move.from, move.to)) continue;
      const shards = this.shardsBetween(move.source, upper(from, move.from), lower(to, move.to));
      for (const shard of shards) add(shard, this.upToStop(move, shard, revision));
    }
    return [...found.values()];
  }

  /**
   * Selects the holder of `key` among `holders`, which were found for `revision` now or earlier. A shard may have been read
   * at several revisions; the newest that is not above the key's holder counts. It may be below: the log's own writes on the
   * host may have raised the cut since.
   */
  choose(holders: readonly Holder[], key: Uint8Array, revision: number): Holder | undefined {
    const { shard, at } = this.holder(key, revision);
    let chosen: Holder | undefined;
    for (const holder of holders) {
      if (holder.shard === shard && holder.at <= at && holder.at > (chosen?.at ?? -1)) chosen = holder;
    }
    return chosen;
  }

  /**
   * The revision at which an event of `key` counts that happened on `shard` at `shardRevision` (which is `revision`).
   * Undefined when it does not count: it belongs to a copy, or to a key that had moved away.
   *
   * Up to M the source's events count, as far as its stop; above M the destination's. The only events on the destination
   * between ready and M are ends of leases. They count at M, because the sources held the keys until then; see also `endsAt`.
   */
  countsAt(key: Uint8Array, shard: number, shardRevision: number, revision: number): number | undefined {
    const { moves } = this.placement.snapshot();
    for (let index = moveFrom(moves, revision); index < moves.length; index++) {
      const move = moves[index]!;
      if (!this.isMoved(move, key)) continue;
      if (shard === this.router(move.destination).shardOf(key)) {
        return shardRevision > (move.readies.get(shard) ?? 0) ? move.revision : undefined;
      }
      const stop = move.stops.get(shard) ?? 0;
      return shard === this.router(move.source).shardOf(key) && shardRevision <= stop ? revision : undefined;
    }
    return shard === this.shardOf(key) ? revision : undefined;
  }

  /** Keys that end at `revision` without an event on any shard, each with its last holder. */
  endsAt(revision: number): { readonly key: Uint8Array; readonly holder: Holder }[] {
    const move = this.placement.snapshot().moves.find((each) => each.revision === revision);
    return (move?.ended ?? []).map((key) => ({ key, holder: this.holder(key, revision - 1) }));
  }

  /**
   * The revision at which a feed must start to include all events that count at `revision` or later. It is below `revision`
   * when a step has its M at or above `revision`: ends of leases that count at M happened after the step's freeze.
   */
  feedFrom(revision: number): number {
    const { moves, plan } = this.placement.snapshot();
    let from = revision;
    if (plan?.frozen !== undefined) from = Math.min(from, plan.frozen.revision + 1);
    for (const move of moves) if (move.revision >= revision) from = Math.min(from, move.frozenAt + 1);
    return from;
  }

  /**
   * The revision at which to compact the shards for a compaction at `revision`. Where a step has its M at or above `revision`,
   * shards keep everything above the step's freeze, for reads at the sources' stops and for feeds.
   */
  compactionAt(revision: number): number {
    const { moves, plan } = this.placement.snapshot();
    let at = revision;
    if (plan?.frozen !== undefined) at = Math.min(at, plan.frozen.revision);
    for (const move of moves) if (move.revision >= revision) at = Math.min(at, move.frozenAt);
    return at;
  }

  /**
   * Shards whose events may count for the range at `revision` or later, ascending: its holders from then on, and while a plan
   * is active both shards of each key.
   */
  shardsFrom(range: KeyRange, revision: number): readonly number[] {
    const { plan, inForce, moves } = this.placement.snapshot();
    const { from, to } = boundsOf(range);
    const shards = new Set<number>();
    const add = (map: string, low: Bound, high: Bound): void => {
      if (range.end.length === 0) shards.add(this.router(map).shardOf(range.key));
      else for (const shard of this.shardsBetween(map, low, high)) shards.add(shard);
    };
    for (const map of plan === undefined ? [inForce] : [plan.below, plan.above]) add(map, from, to);
    for (const move of moves) {
      if (move.revision < revision || !overlap(from, to, move.from, move.to)) continue;
      for (const map of [move.source, move.destination]) add(map, upper(from, move.from), lower(to, move.to));
    }
    return [...shards].sort((a, b) => a - b);
  }

  /** The lowest revision, at least `revision`, whose feed need not begin below it because of a completed step. */
  wholeFrom(revision: number): number {
    let from = revision;
    for (const move of this.placement.snapshot().moves)
      if (move.revision >= from && move.frozenAt + 1 < from) from = move.revision + 1;
    return from;
  }

  /** A locator for the placement as it is now, with other moves: for a feed that is older than the compaction. */
  withMoves(moves: readonly Move[]): Locator {
    const state = { ...this.placement.snapshot(), moves: [...moves] };
    return new Locator({ snapshot: () => state }, this.maps, this.cuts);
  }

  /** True when `move` moved `key` from one shard to another. */
  private isMoved(move: Move, key: Uint8Array): boolean {
    if (!isWithin(key, move.from, move.to)) return false;
    return this.router(move.source).shardOf(key) !== this.router(move.destination).shardOf(key);
  }

  /** The cut of `shard` at `revision`, or its stop in `move` if that is lower. */
  private upToStop(move: Move, shard: number, revision: number): number {
    const cut = this.cuts.cutAt(revision, shard);
    return Math.min(cut, move.stops.get(shard) ?? cut);
  }

  /** Shards on which the map may place keys of [from, to), ascending. */
  shardsBetween(map: string, from: Bound, to: Bound): readonly number[] {
    if (compareBounds(from, to) >= 0) return [];
    return this.router(map).shardsOf(from ?? START, to ?? NO_END);
  }

  /** The router of the map with the text `map`. Throws as `Maps.router` does. */
  router(map: string): MapRouter {
    return this.maps.router(map, this.placement.snapshot().shards);
  }
}

const NO_END = Uint8Array.of(0);

/** Converts a range to its bounds. */
export function boundsOf({ key, end }: KeyRange): { from: Bound; to: Bound } {
  if (end.length === 0) return { from: key, to: Uint8Array.of(...key, 0) };
  return { from: key.length === 0 ? START : key, to: end.length === 1 && end[0] === 0 ? null : end };
}

const lower = (a: Bound, b: Bound): Bound => (compareBounds(a, b) < 0 ? a : b);
const upper = (a: Bound, b: Bound): Bound => (compareBounds(a, b) > 0 ? a : b);
