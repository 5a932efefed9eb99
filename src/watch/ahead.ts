import type { Runtime } from "../turn/runtime.js";
import type { Fanout } from "./fanout.js";
import type { KeyedEvent } from "./history.js";
import type { Merged, Merger } from "./merger.js";
import type { Moves, Reach } from "./moves.js";
import type { Watcher } from "./watcher.js";

export interface AheadDeps {
  readonly merger: Merger<KeyedEvent>;
  /** The synced watchers. */
  readonly fanout: Fanout;
  readonly moves: Moves;
  readonly runtime: Runtime;
  /** Called when `offer` has waited for long enough. */
  wake(): void;
}

/** How long a shard may owe a revision before watchers that do not need the shard get later revisions. */
const AHEAD_DELAY_MS = 300;
/** Bytes of events that are kept after they were delivered ahead of a revision that a shard owes. */
const MAX_AHEAD_BYTES = 16 << 20;

/**
 * Delivers revisions ahead of their turn: while a shard owes a revision, watchers that do not need the shard get later
 * revisions of the others.
 */
export class Ahead {
  /** Synced watchers that arrived while revisions were delivered ahead. They get all revisions in order. */
  readonly late = new Set<Watcher>();
  /** Bytes of the events that were delivered ahead, and not yet in order. */
  private bytes = 0;
  /** Since when a shard has owed the next revision, `Runtime.now()`. */
  private owedSince: number | undefined;
  private stopTimer: (() => void) | undefined;
  /** By range: the shards that it has needed since revisions were delivered ahead. Kept in stores that have had a plan. */
  private needed = new WeakMap<Reach, Set<number>>();

  constructor(private readonly deps: AheadDeps) {}

  /** True if what was delivered ahead takes as much memory as it may. */
  get isFull(): boolean {
    return this.bytes >= MAX_AHEAD_BYTES || this.deps.merger.isFull;
  }

  /** The shards whose events may count for a range at revisions that were not delivered. */
  shardsOf(reach: Reach): readonly number[] {
    return this.deps.moves.shardsOf(reach, this.deps.merger.delivered + 1);
  }

  /** Returns the revision up to which synced watchers of this range were offered all events. Not for late watchers. */
  covered(reach: Reach): number {
    const { delivered, ahead, owing } = this.deps.merger;
    if (ahead === delivered) return delivered;
    let covered = ahead;
    for (const shard of this.neededBy(reach)) {
      covered = Math.min(covered, (owing.get(shard) ?? covered + 1) - 1);
    }
    return Math.max(covered, delivered);
  }

  /** Returns the revision up to which this synced watcher was offered all events. */
  coveredBy(watcher: Watcher): number {
    const { merger, fanout } = this.deps;
    if (merger.ahead === merger.delivered || this.late.has(watcher)) return merger.delivered;
    return this.covered(fanout.reachOf(watcher));
  }

  /** To be called for each new synced watcher. */
  arrived(watcher: Watcher): void {
    if (watcher.next <= this.deps.merger.ahead) this.late.add(watcher);
  }

  /** To be called when a watcher is not synced any more. */
  left(watcher: Watcher): void {
    this.late.delete(watcher);
  }

  /**
   * To be called while a shard owes the next revision. Once it has owed it for some time, offers the later revisions that
   * are there. Returns true if there were any: then the fan-out is to be flushed.
   */
  offer(): boolean {
    const { merger, runtime } = this.deps;
    const now = runtime.now();
    this.owedSince ??= now;
    if (now - this.owedSince < AHEAD_DELAY_MS) {
      this.stopTimer ??= runtime.timer(AHEAD_DELAY_MS, () => {
        this.stopTimer = undefined;
        this.deps.wake();
      });
      return false;
    }
    const before = merger.ahead;
    let hasCaughtUp = false;
    if (this.bytes < MAX_AHEAD_BYTES) {
      for (const { shard, merged } of merger.catchUp()) {
        hasCaughtUp = true;
        this.pass(merged, (shards) => shards.includes(shard));
        if (!merged.early) this.bytes += bytesOf(merged.events);
        if (this.bytes >= MAX_AHEAD_BYTES) break;
      }
    }
    while (this.bytes < MAX_AHEAD_BYTES) {
      const merged = merger.nextAhead();
      if (merged === undefined) break;
      this.bytes += bytesOf(merged.events);
      this.pass(merged, () => true);
    }
    return hasCaughtUp || merger.ahead > before;
  }

  /** To be called when revisions were delivered in order, or no shard owes one. */
  paid(): void {
    this.owedSince = undefined;
  }

  /** To be called when events of this size, which were delivered ahead, were delivered in order. */
  dropped(bytes: number): void {
    this.bytes -= bytes;
  }

  /** To be called when no revision is ahead of those delivered in order. */
  end(): void {
    this.bytes = 0;
    this.late.clear();
    this.needed = new WeakMap();
  }

  close(): void {
    this.stopTimer?.();
  }

  /** Offers a revision to watchers that need none of the shards that owe it or an earlier one. `lacks` says who has not got it. */
  private pass(
    { revision, events }: Merged<KeyedEvent>,
    lacks: (shards: readonly number[]) => boolean,
  ): void {
    const { fanout, merger } = this.deps;
    fanout.offer(revision, events, (reach) => {
      const shards = this.neededBy(reach);
      return lacks(shards) && !shards.some((shard) => (merger.owing.get(shard) ?? revision + 1) <= revision);
    });
  }

  /**
   * The shards whose events may have counted for a range since revisions were delivered ahead. When a plan ends, a range may
   * need fewer shards. It has not got what was passed over while one of the others owed.
   */
  private neededBy(reach: Reach): readonly number[] {
    const shards = this.shardsOf(reach);
    if (!this.deps.moves.hasPlans) return shards;
    let all = this.needed.get(reach);
    if (all === undefined) {
      all = new Set();
      this.needed.set(reach, all);
    }
    for (const shard of shards) all.add(shard);
    return all.size === shards.length ? shards : [...all];
  }
}

/** Size of encoded events, in bytes. */
export function bytesOf(events: readonly KeyedEvent[]): number {
  return events.reduce((sum, { event }) => sum + event.full.length, 0);
}
