import { Compactions } from "./compaction.js";
import { type RunDeps, Running } from "./running.js";
import { WatchStats, type WatchStatus } from "./stats.js";
import type { Watcher } from "./watcher.js";

export type HubDeps = Pick<RunDeps, "timeline" | "shards" | "log" | "historyBytes" | "runtime">;

/**
 * How long the upstream watches and the history stay when nobody watches any more, ms, and previous keys in them when nobody
 * wants these: clients that lost their connection are back by then. While they stay, every write costs the proxy and the
 * shards an event besides.
 */
const IDLE = 3_000;

/**
 * All that this proxy's watchers share: one upstream watch per shard, the merged stream of revisions and its recent
 * history. It starts with the first watcher, from the timeline's head, and stops a moment after the last one.
 */
export class Hub {
  readonly stats: WatchStats;
  private run: Running | undefined;
  private watchers = 0;
  /** Those that want previous keys. */
  private wantingPrevKv = 0;
  private stopIdle = () => {};
  private stopPlainLater = () => {};
  private readonly listeners = new Set<() => void>();
  private readonly outageListeners = new Set<() => void>();
  private readonly compactions: Compactions;

  constructor(private readonly deps: HubDeps) {
    this.compactions = new Compactions(deps.timeline, deps.shards, deps.runtime);
    this.stats = new WatchStats(deps.shards.length);
  }

  get status(): WatchStatus {
    const { synced = 0, replaying = 0, undelivered = 0, missing } = this.run?.status ?? {};
    return {
      synced,
      replaying,
      lagging: this.watchers - synced - replaying,
      undelivered,
      missing: missing ?? this.deps.shards.map(() => 0),
    };
  }

  /** Begins to hand out events to a watcher, from its `next` on. */
  attach(watcher: Watcher): void {
    this.stopIdle();
    this.watchers++;
    if (watcher.wantsPrevKv) {
      this.stopPlainLater();
      this.wantingPrevKv++;
    }
    this.run ??= new Running({
      ...this.deps,
      prevKv: watcher.wantsPrevKv,
      stats: this.stats,
      progressed: () => {
        for (const listener of this.listeners) listener();
      },
      outage: () => {
        for (const listener of this.outageListeners) listener();
      },
      compacted: (lost, compactRevision) => {
        lost.state = "detached";
        this.stats.compacted++;
        this.left(lost);
        this.refuse(lost, compactRevision);
      },
    });
    this.run.place(watcher);
  }

  /** Ends that. Does nothing for a watcher that is not attached. */
  detach(watcher: Watcher): void {
    if (watcher.state === "detached") return;
    this.run?.take(watcher);
    this.left(watcher);
  }

  /**
   * Ends a watcher that is not attached, because what it needs was compacted, at `compactRevision` or later. Its client gets
   * the first revision that all of its shards serve.
   */
  refuse(watcher: Watcher, compactRevision: number): void {
    void this.compactions
      .firstServedByReachable(watcher.shards, compactRevision)
      .then((first) => watcher.outlet.compacted(watcher, first));
  }

  /** The client of this watcher takes events again. */
  unblocked(watcher: Watcher): void {
    if (watcher.state === "lagging") this.run?.catchUp(watcher);
  }

  /** The newest revision, at most the head, at or below which the watcher will be shown nothing any more. */
  watermark(watcher: Watcher): number {
    return Math.min(this.deps.timeline.head, this.run?.position(watcher) ?? watcher.next - 1);
  }

  /** Calls `listener` whenever watermarks may have risen. Returns a function that takes it back. */
  onProgress(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** True when a shard that this watcher needs has been out of reach, or without a leader, for seconds. */
  lacksLeader(watcher: Watcher): boolean {
    const { run } = this;
    return run !== undefined && watcher.shards.some((shard) => run.isOut(shard));
  }

  /** Calls `listener` when `lacksLeader` may have become true, and every second as long as it is so for some watcher. Returns a function that takes it back. */
  onOutage(listener: () => void): () => void {
    this.outageListeners.add(listener);
    return () => this.outageListeners.delete(listener);
  }

  /** Stops. Watchers hear nothing more. */
  close(): void {
    this.stopIdle();
    this.stopPlainLater();
    this.run?.close();
    this.run = undefined;
  }

  private left(watcher: Watcher): void {
    this.watchers--;
    if (watcher.wantsPrevKv && --this.wantingPrevKv === 0) {
      this.stopPlainLater = this.deps.runtime.timer(IDLE, () => this.run?.dropPrevKv(), true);
    }
    if (this.watchers > 0) return;
    this.stopIdle();
    this.stopIdle = this.deps.runtime.timer(IDLE, () => this.close(), true);
  }
}
