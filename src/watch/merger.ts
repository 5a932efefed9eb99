import { NO_SHARD, type Run, type TimelineView } from "../timeline/view.js";
import type { RawEvent } from "../wire/watch.js";
import type { EndedKeys } from "./endedKeys.js";
import type { Moves } from "./moves.js";

/** The events of one shard, in order. `Feed` is the implementation. */
export interface Source {
  /** All events at or below this shard revision have arrived. */
  readonly reached: number;
  /** The events of this shard revision, which must be reached. They can still be taken. */
  peek(shardRevision: number): readonly RawEvent[];
  /** Removes and returns the events of this shard revision, which must be reached. Calls must ascend. */
  take(shardRevision: number): readonly RawEvent[];
  /** To be called when nothing below this shard revision will be taken. It need not be reached. */
  skip(shardRevision: number): void;
}

/** A source that has reached nothing. */
export const NOT_OPEN: Source = { reached: 0, peek: () => [], take: () => [], skip: () => {} };

const NO_SHARDS: ReadonlySet<number> = new Set();

/** Most runs kept, about 16 MiB. While a shard owes a revision for long, no more than these are collected. */
export const MAX_RUNS = 1 << 18;

/** The events that count at one revision of the timeline, as converted by `convert`. */
export interface Merged<E> {
  readonly revision: number;
  readonly events: readonly E[];
  /** True if `nextAhead` or `catchUp` has returned it before. */
  readonly early: boolean;
}

/**
 * Puts the shards' events into the timeline's order. Returns a revision once all before it were returned and its shard's
 * source has reached it. Pure: it does no I/O and never waits.
 *
 * While a shard owes a revision, `nextAhead` returns later revisions of the other shards, and `catchUp` those of shards that
 * it has skipped, once they arrive. `next` returns them again when their turn comes.
 *
 * While keys move between shards, it drops the events that do not count, and returns those that count later at their
 * revision. It waits for the keys of a frozen step.
 */
export class Merger<E> {
  /**
   * The shards that `nextAhead` has skipped since it left `delivered`, with the first revision that neither it nor `catchUp`
   * has returned. A shard also owes an event that is not decided yet.
   */
  readonly owing = new Map<number, number>();
  private newestDelivered: number;
  private newestAhead: number;
  /** Runs from `delivered + 1` on. Kept here because they may be pruned from the timeline. */
  private runs: Run[] = [];
  /** Newest revision in `runs`. */
  private known: number;
  /** Index in `runs` for `next`. */
  private current = 0;
  /** Index in `runs` for `nextAhead`. */
  private currentAhead = 0;
  /** Events that `nextAhead` or `catchUp` has returned and `next` has not, by revision. */
  private readonly early = new Map<number, readonly E[]>();
  /** Events that count at a later revision, by that revision. */
  private readonly later = new Map<number, E[]>();

  /** `source` returns undefined for a shard whose revisions are to be skipped. */
  constructor(
    private readonly timeline: Pick<TimelineView, "head" | "runAt">,
    delivered: number,
    private readonly source: (shard: number) => Source | undefined,
    /** `revision` is the events' revision. */
    private readonly convert: (events: readonly RawEvent[], shard: number, revision: number) => readonly E[],
    private readonly moves: Pick<Moves, "judgedUntil" | "isUndecided" | "countsAt" | "at">,
    private readonly ended: Pick<EndedKeys, "at" | "forget">,
  ) {
    this.newestDelivered = delivered;
    this.newestAhead = delivered;
    this.known = delivered;
  }

  /** Newest revision that `next` has returned or skipped. */
  get delivered(): number {
    return this.newestDelivered;
  }

  /** Newest revision that `nextAhead` has returned or skipped. At least `delivered`. */
  get ahead(): number {
    return this.newestAhead;
  }

  /** True while `learn` waits until more was delivered. */
  get isFull(): boolean {
    return this.runs.length - this.current >= MAX_RUNS;
  }

  /** True while some events that were taken count at a revision that `next` has not returned. */
  get hasLater(): boolean {
    return this.later.size > 0;
  }

  /**
   * Reads runs up to the timeline's head, while there are at most `MAX_RUNS` that were not delivered. To be called after
   * each advance of the timeline, and before that many revisions have been taken. Throws `RangeError` if the timeline has
   * pruned a run after a compaction; `restart` then continues after it.
   */
  learn(): void {
    while (this.known < this.timeline.head && !this.isFull) {
      const run = this.timeline.runAt(this.known + 1);
      this.runs.push(run);
      this.known += run.length;
    }
  }

  /** Continues after `revision` and drops everything up to it. */
  restart(revision: number): void {
    for (const run of this.runs) if (run.shard === NO_SHARD) this.ended.forget(run.revision);
    this.runs = [];
    this.current = 0;
    this.newestDelivered = revision;
    this.known = revision;
    this.early.clear();
    for (const at of this.later.keys()) if (at <= revision) this.later.delete(at);
    this.endAhead();
  }

  /**
   * Returns the next revision, or undefined if the timeline or the source of its shard has not reached it, or if it is not
   * decided yet.
   */
  next(): Merged<E> | undefined {
    for (;;) {
      const run = this.runs[this.current];
      if (run === undefined) return undefined;
      const offset = this.newestDelivered + 1 - run.revision;
      if (offset >= run.length) {
        this.dropRun();
        continue;
      }
      if (run.shard === NO_SHARD) {
        const merged = this.nextMove();
        if (merged !== undefined) this.passed(merged.revision);
        return merged;
      }
      const source = this.source(run.shard);
      if (source === undefined) {
        this.newestDelivered = run.revision + run.length - 1;
        this.newestAhead = Math.max(this.newestAhead, this.newestDelivered);
        continue;
      }
      const revision = this.newestDelivered + 1;
      let events = this.early.get(revision);
      const early = events !== undefined;
      if (events === undefined) {
        const shardRevision = run.shardRevision + offset;
        if (source.reached < shardRevision) {
          // All before it was returned or skipped. A source that is full of older events would never advance.
          source.skip(shardRevision);
          return undefined;
        }
        events = this.take(source, run.shard, shardRevision, revision);
        if (events === undefined) return undefined;
      }
      this.passed(revision);
      return { revision, events, early };
    }
  }

  /**
   * Returns the next revision of a shard that owes none, or undefined. A shard that was skipped once stays skipped until
   * `catchUp` has returned what it owed. Its events would be out of order before that.
   */
  nextAhead(): Merged<E> | undefined {
    for (;;) {
      const run = this.runs[this.currentAhead];
      if (run === undefined) return undefined;
      const offset = this.newestAhead + 1 - run.revision;
      if (offset >= run.length) {
        this.currentAhead++;
        continue;
      }
      if (run.shard === NO_SHARD) {
        for (const shard of this.owes(run.revision)) {
          if (!this.owing.has(shard)) this.owing.set(shard, run.revision);
        }
        this.newestAhead++;
        continue;
      }
      const shardRevision = run.shardRevision + offset;
      const source = this.source(run.shard);
      const revision = this.newestAhead + 1;
      const isOwed = source === undefined || this.owing.has(run.shard) || source.reached < shardRevision;
      const events = isOwed ? undefined : this.take(source, run.shard, shardRevision, revision);
      if (events === undefined) {
        if (!this.owing.has(run.shard)) this.owing.set(run.shard, revision);
        this.newestAhead = run.revision + run.length - 1;
        continue;
      }
      this.newestAhead = revision;
      this.early.set(revision, events);
      return { revision, events, early: true };
    }
  }

  /**
   * Returns the revisions that watches of a shard in `owing` have not got, as far as the shard has reached them: its own, and
   * those of others that `nextAhead` has returned. They are for watches that need `shard` and no shard that owes the
   * revision or an earlier one. Without this, a shard that was late for a moment would owe until all others are back.
   */
  *catchUp(): Generator<{ readonly shard: number; readonly merged: Merged<E> }> {
    for (const [shard, skipped] of this.owing) {
      // All watches have got what `next` has returned.
      const first = Math.max(skipped, this.newestDelivered + 1);
      let index = this.indexOf(first);
      for (let revision = first; ; revision++) {
        if (revision > this.newestAhead) {
          this.owing.delete(shard);
          break;
        }
        const run = this.runs[index];
        if (run === undefined) break;
        if (run.revision + run.length === revision + 1) index++;
        if (run.shard === NO_SHARD) {
          if (this.owes(revision).has(shard)) break;
          this.owing.set(shard, revision + 1);
          continue;
        }
        let events = this.early.get(revision);
        const early = events !== undefined;
        if (run.shard === shard && !early) {
          const source = this.source(shard);
          const shardRevision = run.shardRevision + revision - run.revision;
          if (source === undefined) break;
          if (source.reached < shardRevision) {
            // As in `next`: all before it was taken or skipped.
            source.skip(shardRevision);
            break;
          }
          events = this.take(source, shard, shardRevision, revision);
          if (events === undefined) break;
          this.early.set(revision, events);
        }
        this.owing.set(shard, revision + 1);
        if (events !== undefined) yield { shard, merged: { revision, events, early } };
      }
    }
  }

  /** Returns the index in `runs` of the run with this revision, which has not been delivered. */
  private indexOf(revision: number): number {
    let low = this.current;
    let high = this.runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.runs[middle]!.revision <= revision) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Takes and converts the events that count at `revision`. Undefined while one of them is not decided. */
  private take(
    source: Source,
    shard: number,
    shardRevision: number,
    revision: number,
  ): readonly E[] | undefined {
    const { moves } = this;
    if (revision > moves.judgedUntil) return this.convert(source.take(shardRevision), shard, revision);
    if (source.peek(shardRevision).some(({ key }) => moves.isUndecided(key, revision))) return undefined;
    const counted: RawEvent[] = [];
    for (const event of source.take(shardRevision)) {
      const at = moves.countsAt(event.key, shard, shardRevision, revision);
      if (at === revision) counted.push(event);
      else if (at !== undefined)
        this.later.set(at, [...(this.later.get(at) ?? []), ...this.convert([event], shard, at)]);
    }
    return this.convert(counted, shard, revision);
  }

  /** Returns the revision after `delivered`, at which no shard changed. Undefined while the keys that end there are being read. */
  private nextMove(): Merged<E> | undefined {
    const revision = this.newestDelivered + 1;
    const ended = this.ended.at(revision);
    if (ended === undefined) return undefined;
    this.ended.forget(revision);
    const events = [...(this.later.get(revision) ?? [])];
    for (const { shard, event } of ended) events.push(...this.convert([event], shard, revision));
    this.later.delete(revision);
    return { revision, events, early: false };
  }

  /** The shards of the move at `revision`, unless it has no events. */
  private owes(revision: number): ReadonlySet<number> {
    if (!this.later.has(revision) && this.ended.at(revision)?.length === 0) return NO_SHARDS;
    const move = this.moves.at(revision);
    return new Set([...(move?.stops.keys() ?? []), ...(move?.readies.keys() ?? [])]);
  }

  private passed(revision: number): void {
    this.early.delete(revision);
    this.newestDelivered = revision;
    if (revision >= this.newestAhead) this.endAhead();
  }

  private endAhead(): void {
    this.newestAhead = this.newestDelivered;
    this.currentAhead = this.current;
    this.owing.clear();
  }

  private dropRun(): void {
    this.current++;
    if (this.currentAhead < this.current) this.currentAhead = this.current;
    const { length } = this.runs;
    if (this.current < Math.max(1_024, length / 2) && this.current < length) return;
    this.runs.splice(0, this.current);
    this.currentAhead -= this.current;
    this.current = 0;
  }
}
