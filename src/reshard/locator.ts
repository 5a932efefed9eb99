import { type Bound, compareBounds, isWithin, overlap, START } from "./bound.js";
import type { MapRouter, Maps } from "./maps.js";
import type { Move, Placement } from "./placement.js";

/** What the locator asks of the timeline; `TimelineView` has it. */
export interface Cuts {
  cutAt(revision: number, shard: number): number;
}

/** Which shard holds a key, and at which of its shard revisions. */
export interface Holder {
  readonly shard: number;
  readonly at: number;
}

/** A range of keys as etcd has it: `end` empty is the one key, a single zero byte no end. */
export interface KeyRange {
  readonly key: Uint8Array;
  readonly end: Uint8Array;
}

/** Answers where keys are and were. Pure: all of it follows from the log. */
export class Locator {
  constructor(
    private readonly placement: Placement,
    private readonly maps: Maps,
    private readonly cuts: Cuts,
  ) {}

  /** The shard that a call to `key` goes to now. */
  shardOf(key: Uint8Array): number {
    const { plan, inForce } = this.placement.snapshot();
    if (plan === undefined) return this.router(inForce).shardOf(key);
    return this.router(compareBounds(key, plan.cursor) < 0 ? plan.below : plan.above).shardOf(key);
  }

  /** Shards that can hold a key of the range now, ascending. */
  shardsOf(range: KeyRange): readonly number[] {
    const { plan, inForce } = this.placement.snapshot();
    const { from, to } = boundsOf(range);
    if (plan === undefined) return this.shardsBetween(inForce, from, to);
    const shards = new Set<number>();
    for (const shard of this.shardsBetween(plan.below, from, lower(to, plan.cursor))) shards.add(shard);
    for (const shard of this.shardsBetween(plan.above, upper(from, plan.cursor), to)) shards.add(shard);
    return [...shards].sort((a, b) => a - b);
  }

  /** True when a key of the range may belong to a step that is frozen: a call to it waits. Exact for a single key. */
  isFrozen(range: KeyRange): boolean {
    const frozen = this.placement.snapshot().plan?.frozen;
    if (frozen === undefined) return false;
    const { from, to } = boundsOf(range);
    if (!overlap(from, to, frozen.from, frozen.to)) return false;
    return range.end.length > 0 || this.isOfFrozenStep(range.key);
  }

  /** True when `key` moves with the step that is frozen. */
  isOfFrozenStep(key: Uint8Array): boolean {
    const { plan } = this.placement.snapshot();
    if (plan?.frozen === undefined || !isWithin(key, plan.frozen.from, plan.frozen.to)) return false;
    return this.router(plan.below).shardOf(key) !== this.router(plan.above).shardOf(key);
  }

  /**
   * Until which revision it is decided what holds and what counts for a range: while a step of it is frozen, up to the revision
   * at the freeze; else for ever.
   */
  decidedUntil(range: KeyRange): number {
    if (!this.isFrozen(range)) return Number.POSITIVE_INFINITY;
    return this.placement.snapshot().plan?.frozen?.revision ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Whose state of `key` holds at `revision`, which must be at or above the compaction: below M the source, up to its stop; from
   * M on the destination.
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

  /** All that has to be read for the range's state at `revision`; `choose` tells which of it counts for a key. */
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
   * Which of `holders`, found for `revision` now or earlier, has the state of `key`. A shard may have been read at several revisions:
   * the newest of them counts that the key's holder has reached. (The log's own writes on the host may have raised the cut since.)
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
   * The revision at which an event counts that `shard` had for `key` at `shardRevision`, which is `revision`; undefined when
   * it does not count: it is a copy's, or what became of a key after it had moved away.
   *
   * Up to M the source's events count, as far as its stop; above M the destination's. What happened on the destination between
   * its readiness and M is the end of leases, and counts at M: the sources held the keys until then. `endsAt` tells what else does.
   */
  countsAt(key: Uint8Array, shard: number, shardRevision: number, revision: number): number | undefined {
    for (const move of this.placement.snapshot().moves) {
      if (move.revision < revision || !this.isMoved(move, key)) continue;
      if (shard === this.router(move.destination).shardOf(key)) {
        return shardRevision > (move.readies.get(shard) ?? 0) ? move.revision : undefined;
      }
      const stop = move.stops.get(shard) ?? 0;
      return shard === this.router(move.source).shardOf(key) && shardRevision <= stop ? revision : undefined;
    }
    return shard === this.shardOf(key) ? revision : undefined;
  }

  /** Keys that end at `revision` with no event on any shard, each with the holder that it had until then. */
  endsAt(revision: number): { readonly key: Uint8Array; readonly holder: Holder }[] {
    const move = this.placement.snapshot().moves.find((each) => each.revision === revision);
    return (move?.ended ?? []).map((key) => ({ key, holder: this.holder(key, revision - 1) }));
  }

  /**
   * The revision from which on a feed has to be read so that it has all events that count at `revision` or later. It is lower where
   * a step's M is not below `revision`: the ends of leases that count at M happened after the step's freeze.
   */
  feedFrom(revision: number): number {
    const { moves, plan } = this.placement.snapshot();
    let from = revision;
    if (plan?.frozen !== undefined) from = Math.min(from, plan.frozen.revision + 1);
    for (const move of moves) if (move.revision >= revision) from = Math.min(from, move.frozenAt + 1);
    return from;
  }

  /**
   * The revision at which the shards may be compacted for a compaction at `revision`: what lies above the freeze of a step whose M is
   * not below `revision` stays, for reads up to a source's stop and for feeds.
   */
  compactionAt(revision: number): number {
    const from = this.feedFrom(revision);
    return from < revision ? from - 1 : revision;
  }

  /** True when `move` moved `key` from one shard to another. */
  private isMoved(move: Move, key: Uint8Array): boolean {
    if (!isWithin(key, move.from, move.to)) return false;
    return this.router(move.source).shardOf(key) !== this.router(move.destination).shardOf(key);
  }

  private upToStop(move: Move, shard: number, revision: number): number {
    const cut = this.cuts.cutAt(revision, shard);
    return Math.min(cut, move.stops.get(shard) ?? cut);
  }

  /** Shards that a map has for the keys of [from, to). */
  shardsBetween(map: string, from: Bound, to: Bound): readonly number[] {
    if (compareBounds(from, to) >= 0) return [];
    return this.router(map).shardsOf(from ?? START, to ?? NO_END);
  }

  router(map: string): MapRouter {
    return this.maps.router(map, this.placement.snapshot().shards);
  }
}

const NO_END = Uint8Array.of(0);

/** The places between which a range lies. */
export function boundsOf({ key, end }: KeyRange): { from: Bound; to: Bound } {
  if (end.length === 0) return { from: key, to: Uint8Array.of(...key, 0) };
  return { from: key.length === 0 ? START : key, to: end.length === 1 && end[0] === 0 ? null : end };
}

const lower = (a: Bound, b: Bound): Bound => (compareBounds(a, b) < 0 ? a : b);
const upper = (a: Bound, b: Bound): Bound => (compareBounds(a, b) > 0 ? a : b);
