import { Compactions } from "./compaction.js";
import { Moves } from "./moves.js";
import { SoleCompaction } from "./soleCompaction.js";
import { WatchStats, type WatchStatus } from "./stats.js";
import type { Watcher } from "./watcher.js";
import { WatchLoop, type WatchLoopDeps } from "./watchLoop.js";

export type HubDeps = Pick<WatchLoopDeps, "timeline" | "shards" | "log" | "historyBytes" | "runtime">;

/**
 * How long the upstream watches and the history outlive the last watcher, and previous keys in them the last watcher that
 * wants them. Clients that lost their connection are back within this time. Until then, every write costs the proxy and
 * the shard an extra event.
 */
const IDLE_TIMEOUT_MS = 3_000;

/**
 * Shared by all watchers of this proxy: one upstream watch per shard, the merged stream of revisions, and its recent
 * history. It starts with the first watcher, at the timeline's head, and stops some seconds after the last one.
 */
export class Hub {
  readonly stats: WatchStats;
  private loop: WatchLoop | undefined;
  private watchers = 0;
  /** Number of watchers that want previous keys. */
  private wantingPrevKv = 0;
  private stopIdle = () => {};
  private stopPlainLater = () => {};
  private readonly listeners = new Set<() => void>();
  private readonly outageListeners = new Set<() => void>();
  private readonly compactions: Compactions;
  private readonly moves: Moves;
  private readonly soleCompaction: SoleCompaction;

  constructor(private readonly deps: HubDeps) {
    this.moves = new Moves(deps.timeline);
    this.compactions = new Compactions(deps.timeline, deps.shards, deps.runtime);
    this.soleCompaction = new SoleCompaction(deps.timeline, deps.shards, deps.runtime);
    this.stats = new WatchStats(deps.shards);
  }

  get status(): WatchStatus {
    const { synced = 0, replaying = 0, undelivered = 0, missing } = this.loop?.status ?? {};
    return {
      synced,
      replaying,
      lagging: this.watchers - synced - replaying,
      undelivered,
      missing: new Map(this.deps.shards.entries().map(([shard]) => [shard, missing?.get(shard) ?? 0])),
    };
  }

  /** To be awaited before watches from this revision on are attached, see `SoleCompaction.learn`. */
  learnCompaction(revision: number): Promise<void> | undefined {
    return this.soleCompaction.learn(revision);
  }

  /** Starts to deliver events to a watcher, from its `next` on. */
  attach(watcher: Watcher): void {
    this.stopIdle();
    this.watchers++;
    if (watcher.wantsPrevKv) {
      this.stopPlainLater();
      this.wantingPrevKv++;
    }
    this.refreshMoves();
    this.loop ??= new WatchLoop({
      ...this.deps,
      moves: this.moves,
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
    this.loop.place(watcher);
  }

  /** Stops delivery. Does nothing for a watcher that is not attached. */
  detach(watcher: Watcher): void {
    if (watcher.state === "detached") return;
    this.loop?.take(watcher);
    this.left(watcher);
  }

  /**
   * Ends a watcher that is not attached because a revision that it needs was compacted, at `compactRevision` or later. Its
   * client gets the first revision that all of the watcher's shards serve.
   */
  refuse(watcher: Watcher, compactRevision: number): void {
    this.refreshMoves();
    void this.compactions
      .firstServedByReachable(this.moves.shardsOf(watcher.reach, compactRevision), compactRevision)
      .then((first) => watcher.outlet.compacted(watcher, first));
  }

  /** To be called when the client of this watcher takes events again. */
  unblocked(watcher: Watcher): void {
    if (watcher.state === "lagging") this.loop?.catchUp(watcher);
  }

  /** Returns the watcher's watermark: the newest revision, at most the head, up to which it has been sent all events. */
  watermark(watcher: Watcher): number {
    return Math.min(this.deps.timeline.head, this.loop?.position(watcher) ?? watcher.next - 1);
  }

  /** Calls `listener` whenever watermarks may have risen. Returns a function that removes it. */
  onProgress(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** True if a shard that this watcher needs has been unreachable, or without a leader, for seconds. */
  lacksLeader(watcher: Watcher): boolean {
    return this.loop?.lacksLeader(watcher) === true;
  }

  /**
   * Calls `listener` when `lacksLeader` may have become true, and every second while it is true for a watcher. Returns a
   * function that removes it.
   */
  onOutage(listener: () => void): () => void {
    this.outageListeners.add(listener);
    return () => this.outageListeners.delete(listener);
  }

  /** Stops. Watchers are not notified. */
  close(): void {
    this.stopIdle();
    this.stopPlainLater();
    this.loop?.close();
    this.loop = undefined;
  }

  /** The loop does this itself. */
  private refreshMoves(): void {
    if (this.loop === undefined) this.moves.refresh(this.deps.timeline.head + 1);
  }

  private left(watcher: Watcher): void {
    this.watchers--;
    if (watcher.wantsPrevKv && --this.wantingPrevKv === 0) {
      this.stopPlainLater = this.deps.runtime.timer(IDLE_TIMEOUT_MS, () => this.loop?.dropPrevKv(), true);
    }
    if (this.watchers > 0) return;
    this.stopIdle();
    this.stopIdle = this.deps.runtime.timer(IDLE_TIMEOUT_MS, () => this.close(), true);
  }
}
