import type { Run, TimelineView } from "../timeline/view.js";
import type { RawEvent } from "../wire/watch.js";

/** Where a shard's events come from; `Feed` is one. */
export interface Source {
  /** Every event at or below this shard revision is there. */
  readonly reached: number;
  take(shardRevision: number): readonly RawEvent[];
  /** Nothing below this shard revision, which may not be there yet, will be taken any more. */
  skip(shardRevision: number): void;
}

/** Runs that are kept at most, about 16 MiB: while a shard owes for long, its turn is waited for with no more of them. */
export const MAX_RUNS = 1 << 18;

/** One revision of the timeline with all its events, as `convert` made them. */
export interface Merged<T> {
  readonly revision: number;
  readonly events: T;
  /** `nextAhead` has answered it before. */
  readonly early: boolean;
}

/**
 * Puts the shards' events into the timeline's order: a revision is handed out once all before it have been and its
 * shard's source has reached it. Pure: it neither waits nor asks anybody.
 *
 * While a shard owes a revision, `nextAhead` hands out what follows from the other shards. `next` does so again when
 * its turn comes.
 */
export class Merger<T> {
  /** Shards whose revisions `nextAhead` has passed over since it left `delivered` → the first of those revisions. */
  readonly owing = new Map<number, number>();
  private newestDelivered: number;
  private newestAhead: number;
  /** Runs from `delivered + 1` on. Kept here because a compaction may soon prune them from the timeline. */
  private runs: Run[] = [];
  private known: number;
  /** Places in `runs`. */
  private current = 0;
  private currentAhead = 0;
  private readonly early = new Map<number, T>();

  /** `source` answers undefined for a shard whose revisions are passed over. */
  constructor(
    private readonly timeline: Pick<TimelineView, "head" | "runAt">,
    delivered: number,
    private readonly source: (shard: number) => Source | undefined,
    /** `revision` is the one that the events are of. */
    private readonly convert: (events: readonly RawEvent[], shard: number, revision: number) => T,
  ) {
    this.newestDelivered = delivered;
    this.newestAhead = delivered;
    this.known = delivered;
  }

  /** Newest revision that `next` has handed out or passed over. */
  get delivered(): number {
    return this.newestDelivered;
  }

  /** Newest revision that `nextAhead` has handed out or passed over; at least `delivered`. */
  get ahead(): number {
    return this.newestAhead;
  }

  /**
   * Learns runs up to the timeline's head, at most `MAX_RUNS` that were not handed out; to be called after each of its
   * advances, and before that many revisions have been taken. Throws `RangeError` when the timeline has forgotten one
   * (it was compacted meanwhile); `restart` goes on from there.
   */
  learn(): void {
    while (this.known < this.timeline.head && this.runs.length - this.current < MAX_RUNS) {
      const run = this.timeline.runAt(this.known + 1);
      this.runs.push(run);
      this.known += run.length;
    }
  }

  /** Goes on behind `revision`, without what is before. */
  restart(revision: number): void {
    this.runs = [];
    this.current = 0;
    this.newestDelivered = revision;
    this.known = revision;
    this.early.clear();
    this.endAhead();
  }

  /** The next revision, or undefined when the timeline or the source of its shard is not there yet. */
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
          // What is before it was handed out, or passed over: a source that is full of that would never get further.
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
   * The next revision of a shard that owes none, or undefined. A shard that has once been passed over stays out until
   * `next` has come as far as `nextAhead`: what it has to say by then would be out of order.
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
