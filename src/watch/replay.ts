import type { Logger } from "../ops/log.js";
import type { ShardSet } from "../shard/shardSet.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import type { EncodedEvent, RawEvent } from "../wire/watch.js";
import { compactRevisionOf, firstNeeded } from "./compaction.js";
import { EndedKeys } from "./endedKeys.js";
import { EventEncoder } from "./eventEncoder.js";
import { Fanout } from "./fanout.js";
import { Feed } from "./feed.js";
import type { History } from "./history.js";
import { keyText } from "./keys.js";
import { Merger, NOT_OPEN } from "./merger.js";
import { type Moves, whenThawed } from "./moves.js";
import type { WatchStats } from "./stats.js";
import type { Watcher } from "./watcher.js";

/** What replays need from the watch loop. */
export interface ReplayDeps {
  readonly timeline: Timeline;
  readonly shards: ShardSet;
  /** The loop refreshes them. */
  readonly moves: Moves;
  readonly history: History;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly runtime: Runtime;
  readonly stats: WatchStats;
  /** Called when the watcher has left its replay. It continues from its `next`. */
  place(watcher: Watcher): void;
  /** Called when the watcher has left its replay because revisions that it needs were compacted. */
  compacted(watcher: Watcher, compactRevision: number): void;
  /** Called when watermarks may have risen. */
  progressed(): void;
}

/** Most replays that run at a time over the same set of shards. Watchers that come later share the next one. */
const MAX_REPLAYS_PER_SET = 2;
/** Revisions that a replay delivers in a turn of the event loop. */
const SLICE_REVISIONS = 1_000;
/** Bytes of events that a replay delivers in a turn. */
const SLICE_BYTES = 4 << 20;

/**
 * Serves watchers that are older than the proxy's history from the shards' own histories. Also serves watchers that want
 * previous keys where the history has none yet, see `WatchLoop`.
 *
 * Watchers that need the same shards share replays, so that a shard that is down delays only those that need it. At most
 * two replays run per set of shards.
 */
export class Replays {
  private readonly sets = new Map<string, ReplaySet>();
  /** The set of each watcher. It does not change when the watcher's shards do. */
  private readonly names = new Map<Watcher, string>();

  constructor(private readonly deps: ReplayDeps) {}

  /** Number of watchers that wait for a replay or are in one. */
  get size(): number {
    let size = 0;
    for (const { waiting, running } of this.sets.values()) {
      size += waiting.size;
      for (const replay of running) size += replay.size;
    }
    return size;
  }

  /** The lowest revision that a replay has not delivered; infinity if there is none. */
  get oldest(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { waiting, running } of this.sets.values()) {
      for (const { next } of waiting) oldest = Math.min(oldest, next);
      for (const { next } of running) oldest = Math.min(oldest, next);
    }
    return oldest;
  }

  /** Adds a watcher, which shares a replay with others if possible. */
  request(watcher: Watcher): void {
    const name = this.setOf(watcher);
    this.names.set(watcher, name);
    let set = this.sets.get(name);
    if (set === undefined) {
      set = { prevKv: watcher.wantsPrevKv, waiting: new Set(), running: new Set() };
      this.sets.set(name, set);
    }
    watcher.state = "replaying";
    set.waiting.add(watcher);
    // In the next turn, so that watchers that arrive together share a replay.
    this.deps.runtime.later(() => this.start(name));
  }

  remove(watcher: Watcher): void {
    const set = this.sets.get(this.names.get(watcher) ?? "");
    this.names.delete(watcher);
    if (set === undefined || set.waiting.delete(watcher)) return;
    for (const replay of set.running) replay.remove(watcher);
  }

  /** To be called when the timeline or the history has advanced, or the history has previous keys from now on. */
  advanced(): void {
    for (const { running } of this.sets.values()) for (const replay of running) replay.advanced();
  }

  /** Reopens watches on shards that owe revisions and have been silent for more than `limit` milliseconds. */
  reopenSilent(limit: number): void {
    for (const { running } of this.sets.values()) for (const replay of running) replay.reopenSilent(limit);
  }

  /** To be called when a shard has left this proxy, after `advanced`. Ends the watchers that need it. */
  retired(shard: number): void {
    for (const { running } of this.sets.values()) for (const replay of [...running]) replay.retired(shard);
  }

  close(): void {
    for (const { running } of this.sets.values()) for (const replay of running) replay.close();
    this.sets.clear();
  }

  /** Names the set of a watcher: those with the same shards and the same need of previous keys. */
  private setOf({ reach, next, wantsPrevKv }: Watcher): string {
    return `${this.deps.moves.shardsOf(reach, next).join()} ${wantsPrevKv}`;
  }

  private start(name: string): void {
    const set = this.sets.get(name);
    if (set === undefined) return;
    for (const replay of set.running) {
      for (const watcher of set.waiting) if (replay.join(watcher)) set.waiting.delete(watcher);
    }
    if (set.waiting.size > 0 && set.running.size < MAX_REPLAYS_PER_SET) {
      const watchers = [...set.waiting];
      set.waiting.clear();
      const replay = new Replay(this.deps, watchers, set.prevKv, () => {
        set.running.delete(replay);
        this.deps.runtime.later(() => this.start(name));
      });
      set.running.add(replay);
      this.deps.stats.replays++;
      replay.begin();
    }
    if (set.waiting.size === 0 && set.running.size === 0) this.sets.delete(name);
  }
}

interface ReplaySet {
  readonly prevKv: boolean;
  readonly waiting: Set<Watcher>;
  readonly running: Set<Replay>;
}

class Replay {
  private readonly fanout: Fanout;
  private readonly feeds: (Feed | undefined)[] = [];
  /** Shards that its watchers need. */
  private needed = new Set<number>();
  /** Version of `Moves` for which `needed` was computed. */
  private version = -1;
  private readonly ended: EndedKeys;
  private readonly merger: Merger<LazyEvent>;
  /** The first revision that a watcher wants. */
  private readonly wanted: number;
  /** Cancels the scheduled step, if there is one. */
  private unschedule: (() => void) | undefined;
  private closed = false;
  /** True once it has been at the timeline's head. Since then its watchers get events as they arrive. */
  private caughtUp = false;

  constructor(
    private readonly deps: ReplayDeps,
    watchers: readonly Watcher[],
    private readonly prevKv: boolean,
    private readonly onEnd: () => void,
  ) {
    const { timeline, shards, moves, runtime } = deps;
    this.fanout = new Fanout(runtime.random);
    for (const watcher of watchers) this.fanout.add(watcher);
    const first = watchers.reduce((least, { next }) => Math.min(least, next), Number.POSITIVE_INFINITY);
    // Revision 1 is the empty store. Revisions between the head and a start in the future must be taken as well.
    this.wanted = Math.max(2, Math.min(first, timeline.head + 1));
    this.ended = new EndedKeys({
      shards,
      moves,
      runtime,
      wants: (shard) => this.needed.has(shard),
      arrived: () => this.schedule(),
    });
    const encoder = new EventEncoder(timeline, moves);
    this.merger = new Merger(
      timeline,
      Math.max(1, moves.feedFrom(this.wanted) - 1),
      (shard) => this.feeds[shard] ?? (this.needed.has(shard) ? NOT_OPEN : undefined),
      (events, shard, revision) => events.map((raw) => new LazyEvent(raw, shard, revision, encoder)),
      moves,
      this.ended,
    );
  }

  get size(): number {
    return this.fanout.size;
  }

  /** The lowest revision that was not delivered. */
  get next(): number {
    return this.merger.delivered + 1;
  }

  begin(): void {
    const { timeline } = this.deps;
    if (this.wanted < timeline.compactRevision) {
      this.dropCompacted(timeline.compactRevision);
      return;
    }
    if (!this.learn()) return;
    this.openFeeds();
    this.schedule();
  }

  /** Opens the feeds that its watchers need and that are not open. */
  private openFeeds(): void {
    const { timeline, shards, moves, log, stats, runtime } = this.deps;
    const { next } = this;
    this.version = moves.version;
    this.needed = new Set(this.fanout.members().flatMap(({ reach }) => moves.shardsOf(reach, next)));
    for (const shard of this.needed) {
      const target = shards.find(shard);
      if (target === undefined || this.feeds[shard] !== undefined) continue;
      this.feeds[shard] = new Feed({
        shard: target,
        stats: stats.upstream.at(shard),
        from: next > timeline.head ? timeline.cut(shard) + 1 : firstNeeded(timeline, next, shard),
        fromCompacted: true,
        prevKv: this.prevKv,
        log,
        runtime,
        arrived: () => this.schedule(),
        lost: (compacted) => void this.lost(shard, compacted),
      });
    }
  }

  /**
   * Adds a watcher that starts soon after the replay's position. Returns false if it does not. A replay that has caught up
   * with the timeline can go on as long as the history lacks what its watchers want.
   */
  join(watcher: Watcher): boolean {
    const ahead = watcher.next - 1 - this.merger.delivered;
    if (this.closed || ahead < 0 || ahead > SLICE_REVISIONS) return false;
    this.fanout.add(watcher);
    this.openFeeds();
    this.schedule();
    return true;
  }

  remove(watcher: Watcher): void {
    if (!this.fanout.has(watcher)) return;
    this.fanout.remove(watcher);
    if (this.fanout.size === 0) this.end();
  }

  advanced(): void {
    if (this.closed || !this.learn()) return;
    if (this.version !== this.deps.moves.version) this.openFeeds();
    this.schedule();
  }

  reopenSilent(limit: number): void {
    this.openFeeds();
    for (const [shard, feed] of this.feeds.entries()) {
      if (feed !== undefined && feed.reached < this.deps.timeline.cut(shard) && feed.silence > limit) {
        feed.reopen();
      }
    }
  }

  retired(shard: number): void {
    const feed = this.feeds[shard];
    if (feed === undefined) return;
    this.openFeeds();
    if (this.needed.has(shard)) {
      // A compaction has passed the shard's last move.
      this.dropCompacted(this.deps.timeline.compactRevision);
      return;
    }
    feed.close();
    this.feeds[shard] = undefined;
    this.schedule();
  }

  /** Ends the replay. Its watchers are not notified. */
  close(): void {
    this.closed = true;
    this.unschedule?.();
    this.ended.close();
    for (const feed of this.feeds) feed?.close();
  }

  private end(): void {
    if (this.closed) return;
    this.close();
    this.onEnd();
  }

  /** Returns false if the timeline has pruned the next revision. The replay has ended then. */
  private learn(): boolean {
    const { timeline, moves } = this.deps;
    try {
      // Below it, what was not delivered may name revisions that are forgotten; see `WatchLoop.skipForgotten`.
      if (this.next >= timeline.prunedAt) {
        this.merger.learn();
        return true;
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    this.dropCompacted(moves.wholeFrom(timeline.compactRevision));
    return false;
  }

  private schedule(): void {
    if (this.closed) return;
    this.unschedule ??= this.deps.runtime.later(() => {
      this.unschedule = undefined;
      this.step();
    });
  }

  private step(): void {
    const { merger, fanout, deps } = this;
    const end = deps.history.firstFor(this.prevKv);
    let revisions = 0;
    let bytes = 0;
    while (merger.delivered + 1 < end) {
      const merged = merger.next();
      if (merged === undefined) break;
      fanout.offer(merged.revision, merged.events);
      for (const { raw } of merged.events) bytes += raw.raw.length;
      if (++revisions === SLICE_REVISIONS || bytes > SLICE_BYTES) {
        this.schedule();
        break;
      }
    }
    const covered = merger.delivered;
    if (covered >= deps.timeline.head) this.caughtUp = true;
    // A slow client must not delay the others. It gets another place once it has read what is queued.
    for (const watcher of fanout.flush(covered)) this.release(watcher);
    for (const watcher of fanout.members()) {
      watcher.pass(covered);
      if (this.caughtUp) watcher.state = "following";
    }
    if (covered + 1 < end) {
      if (revisions > 0) deps.progressed();
      return;
    }
    for (const watcher of fanout.members()) this.release(watcher);
  }

  private release(watcher: Watcher): void {
    if (!this.fanout.has(watcher)) return;
    this.remove(watcher);
    this.deps.place(watcher);
  }

  private async lost(shard: number, compacted: number): Promise<void> {
    const { timeline, moves } = this.deps;
    await whenThawed(timeline, moves);
    const revision = await compactRevisionOf(timeline, shard, compacted);
    if (!this.closed) this.dropCompacted(revision);
  }

  /** Ends the watchers that need compacted revisions. The others start over. */
  private dropCompacted(compactRevision: number): void {
    const watchers = this.fanout.members();
    this.end();
    for (const watcher of watchers) {
      if (watcher.next < compactRevision) this.deps.compacted(watcher, compactRevision);
      else this.deps.place(watcher);
    }
  }
}

/** Encodes its event only when a watcher wants it. In a replay, few events are wanted. */
class LazyEvent {
  readonly key: string;
  private encoded: EncodedEvent | undefined;

  constructor(
    readonly raw: RawEvent,
    private readonly shard: number,
    private readonly revision: number,
    private readonly encoder: EventEncoder,
  ) {
    this.key = keyText(raw.key);
  }

  get event(): EncodedEvent {
    this.encoded ??= this.encoder.encode(this.raw, this.shard, this.revision);
    return this.encoded;
  }
}
