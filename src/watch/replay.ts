import type { Logger } from "../ops/log.js";
import type { ShardSet } from "../shard/shardSet.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import { type EncodedEvent, encodeEvent, type RawEvent } from "../wire/watch.js";
import { compactRevisionOf, firstNeeded } from "./compaction.js";
import { Fanout } from "./fanout.js";
import { Feed } from "./feed.js";
import type { History } from "./history.js";
import { keyText } from "./keys.js";
import { Merger } from "./merger.js";
import type { WatchStats } from "./stats.js";
import type { Watcher } from "./watcher.js";

/** What replays need from the watch loop. */
export interface ReplayDeps {
  readonly timeline: Timeline;
  readonly shards: ShardSet;
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

  /** Adds a watcher, which shares a replay with others if possible. */
  request(watcher: Watcher): void {
    const name = setOf(watcher);
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
    const set = this.sets.get(setOf(watcher));
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

  close(): void {
    for (const { running } of this.sets.values()) for (const replay of running) replay.close();
    this.sets.clear();
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

/** Names the set of a watcher: those with the same shards and the same need of previous keys. */
const setOf = ({ shards, wantsPrevKv }: Watcher): string => `${shards.join()} ${wantsPrevKv}`;

class Replay {
  private readonly fanout: Fanout;
  private readonly feeds: (Feed | undefined)[] = [];
  private readonly merger: Merger<LazyEvent[]>;
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
    this.fanout = new Fanout(deps.runtime.random);
    for (const watcher of watchers) this.fanout.add(watcher);
    const first = watchers.reduce((least, { next }) => Math.min(least, next), Number.POSITIVE_INFINITY);
    // Revision 1 is the empty store. Revisions between the head and a start in the future must be taken as well.
    this.merger = new Merger(
      deps.timeline,
      Math.max(1, Math.min(first - 1, deps.timeline.head)),
      (shard) => this.feeds[shard],
      (events, shard, revision) => {
        // The events' own revision is known here. It may have been pruned from the timeline.
        const map = (shardRevision: number) =>
          shardRevision === events[0]?.modRevision
            ? revision
            : deps.timeline.toRevision(shard, shardRevision);
        return events.map((raw) => new LazyEvent(raw, map));
      },
    );
  }

  get size(): number {
    return this.fanout.size;
  }

  begin(): void {
    const { timeline, shards, log, stats, runtime } = this.deps;
    const first = this.merger.delivered + 1;
    if (first < timeline.compactRevision) {
      this.dropCompacted(timeline.compactRevision);
      return;
    }
    if (!this.learn()) return;
    const future = first > timeline.head;
    for (const watcher of this.fanout.members()) {
      for (const shard of watcher.shards) {
        this.feeds[shard] ??= new Feed({
          shard: shards.at(shard),
          stats: stats.upstream.at(shard),
          from: future ? timeline.cut(shard) + 1 : firstNeeded(timeline, first, shard),
          fromCompacted: true,
          prevKv: this.prevKv,
          log,
          runtime,
          arrived: () => this.schedule(),
          lost: (compacted) => void this.lost(shard, compacted),
        });
      }
    }
    this.schedule();
  }

  /**
   * Adds a watcher that starts soon after the replay's position. Returns false if it does not. A replay that has caught up
   * with the timeline can go on as long as the history lacks what its watchers want.
   */
  join(watcher: Watcher): boolean {
    const ahead = watcher.next - 1 - this.merger.delivered;
    if (this.closed || ahead < 0 || ahead > SLICE_REVISIONS) return false;
    this.fanout.add(watcher);
    this.schedule();
    return true;
  }

  remove(watcher: Watcher): void {
    if (!this.fanout.has(watcher)) return;
    this.fanout.remove(watcher);
    if (this.fanout.size === 0) this.end();
  }

  advanced(): void {
    if (!this.closed && this.learn()) this.schedule();
  }

  reopenSilent(limit: number): void {
    for (const [shard, feed] of this.feeds.entries()) {
      if (feed !== undefined && feed.reached < this.deps.timeline.cut(shard) && feed.silence > limit) {
        feed.reopen();
      }
    }
  }

  /** Ends the replay. Its watchers are not notified. */
  close(): void {
    this.closed = true;
    this.unschedule?.();
    for (const feed of this.feeds) feed?.close();
  }

  private end(): void {
    if (this.closed) return;
    this.close();
    this.onEnd();
  }

  /** Returns false if the timeline has pruned the next revision. The replay has ended then. */
  private learn(): boolean {
    try {
      this.merger.learn();
      return true;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.dropCompacted(this.deps.timeline.compactRevision);
      return false;
    }
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
    const revision = await compactRevisionOf(this.deps.timeline, shard, compacted);
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
    private readonly map: (shardRevision: number) => number,
  ) {
    this.key = keyText(raw.key);
  }

  get event(): EncodedEvent {
    this.encoded ??= encodeEvent(this.raw, this.map);
    return this.encoded;
  }
}
