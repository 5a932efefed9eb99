import type { Run, TimelineView } from "../timeline/view.js";
import type { RawEvent } from "../wire/watch.js";

/** The events of one shard, in order. `Feed` is the implementation. */
export interface Source {
  /** All events at or below this shard revision have arrived. */
  readonly reached: number;
  /** Removes and returns the events of this shard revision, which must be reached. Calls must ascend. */
  take(shardRevision: number): readonly RawEvent[];
  /** To be called when nothing below this shard revision will be taken. It need not be reached. */
  skip(shardRevision: number): void;
}

/** Most runs kept, about 16 MiB. While a shard owes a revision for long, no more than these are collected. */
export const MAX_RUNS = 1 << 18;

/** One revision of the timeline with all its events, as converted by `convert`. */
export interface Merged<T> {
  readonly revision: number;
  readonly events: T;
  /** True if `nextAhead` has returned it before. */
  readonly early: boolean;
}

/**
 * Puts the shards' events into the timeline's order. Returns a revision once all before it were returned and its shard's
 * source has reached it. Pure: it does no I/O and never waits.
 *
 * While a shard owes a revision, `nextAhead` returns later revisions of the other shards. `next` returns them again when
 * their turn comes.
 */
export class Merger<T> {
  /** The shards that `nextAhead` has skipped since it left `delivered`, with the first revision that it skipped. */
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
  /** Events that `nextAhead` has returned and `next` has not, by revision. */
  private readonly early = new Map<number, T>();

  /** `source` returns undefined for a shard whose revisions are to be skipped. */
  constructor(
    private readonly timeline: Pick<TimelineView, "head" | "runAt">,
    delivered: number,
    private readonly source: (shard: number) => Source | undefined,
    /** `revision` is the events' revision. */
    private readonly convert: (events: readonly RawEvent[], shard: number, revision: number) => T,
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

  /**
   * Reads runs up to the timeline's head, while there are at most `MAX_RUNS` that were not delivered. To be called after
   * each advance of the timeline, and before that many revisions have been taken. Throws `RangeError` if the timeline has
   * pruned a run after a compaction; `restart` then continues after it.
   */
  learn(): void {
    while (this.known < this.timeline.head && this.runs.length - this.current < MAX_RUNS) {
      const run = this.timeline.runAt(this.known + 1);
      this.runs.push(run);
      this.known += run.length;
    }
  }

  /** Continues after `revision` and drops everything up to it. */
  restart(revision: number): void {
    this.runs = [];
    this.current = 0;
    this.newestDelivered = revision;
    this.known = revision;
    this.early.clear();
    this.endAhead();
  }

  /** Returns the next revision, or undefined if the timeline or the source of its shard has not reached it. */
  next(): Merged<T> | undefined {
    for (;;) {
      const run = this.runs[this.current];
      if (run === undefined) return undefined;
      const offset = this.newestDelivered + 1 - run.revision;
      if (offset >= run.length) {
        this.dropRun();
        continue;
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
        events = this.convert(source.take(shardRevision), run.shard, revision);
      }
      this.early.delete(revision);
      this.newestDelivered = revision;
      if (revision >= this.newestAhead) this.endAhead();
      return { revision, events, early };
    }
  }

  /**
   * Returns the next revision of a shard that owes none, or undefined. A shard that was skipped once stays skipped until
   * `next` has caught up with `nextAhead`. Its events would be out of order before that.
   */
  nextAhead(): Merged<T> | undefined {
    for (;;) {
      const run = this.runs[this.currentAhead];
      if (run === undefined) return undefined;
      const offset = this.newestAhead + 1 - run.revision;
      if (offset >= run.length) {
        this.currentAhead++;
        continue;
      }
      const shardRevision = run.shardRevision + offset;
      const source = this.source(run.shard);
      if (source === undefined || this.owing.has(run.shard) || source.reached < shardRevision) {
        if (!this.owing.has(run.shard)) this.owing.set(run.shard, run.revision + offset);
        this.newestAhead = run.revision + run.length - 1;
        continue;
      }
      const revision = ++this.newestAhead;
      const events = this.convert(source.take(shardRevision), run.shard, revision);
      this.early.set(revision, events);
      return { revision, events, early: true };
    }
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
