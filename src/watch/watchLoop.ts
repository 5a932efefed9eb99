import type { Logger } from "../ops/log.js";
import type { ShardSet } from "../shard/shardSet.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import { Slabs } from "../turn/slabs.js";
import { Ahead, bytesOf } from "./ahead.js";
import { CatchUp } from "./catchUp.js";
import { compactRevisionOf } from "./compaction.js";
import { EndedKeys } from "./endedKeys.js";
import { EventEncoder } from "./eventEncoder.js";
import { Fanout } from "./fanout.js";
import { History, type KeyedEvent } from "./history.js";
import { keyText } from "./keys.js";
import { Merger } from "./merger.js";
import { type Moves, whenThawed } from "./moves.js";
import { Replays } from "./replay.js";
import { ShardFeeds, SILENCE_LIMIT_MS } from "./shardFeeds.js";
import type { WatchStats, WatchStatus } from "./stats.js";
import type { Watcher } from "./watcher.js";

export interface WatchLoopDeps {
  readonly timeline: Timeline;
  readonly shards: ShardSet;
  /** Current when the loop is made. The loop refreshes them. */
  readonly moves: Moves;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly runtime: Runtime;
  readonly stats: WatchStats;
  /** Bytes of memory for the events of recent revisions. */
  readonly historyBytes: number;
  /** True if events come with their previous keys from the start. */
  readonly prevKv: boolean;
  /** Called when watermarks may have risen. */
  progressed(): void;
  /** Called repeatedly while a shard is out, see `isOut`. */
  outage(): void;
  /** Called when a watcher was removed because revisions that it needs were compacted. */
  compacted(watcher: Watcher, compactRevision: number): void;
}

/** Revisions delivered in a turn of the event loop. */
const SLICE_REVISIONS = 1_000;
/** Bytes of events delivered in a turn. */
const SLICE_BYTES = 4 << 20;
/** With a backlog of at most this many revisions, each revision gets a separate response, as from etcd. */
const MAX_SINGLE_REVISIONS = 8;
/** How often feeds are checked. */
const CHECK_INTERVAL_MS = 1_000;
const RETRY_DELAY_MS = 1_000;

/**
 * The hub's working part, from the first watcher to the last: the upstream watches, the merged revisions, their history,
 * and the place of each attached watcher. A place is the fan-out, the history or a replay.
 */
export class WatchLoop {
  private readonly feeds: ShardFeeds;
  /** By shard: the first revision whose events were not lost, where some were. */
  private readonly begins = new Map<number, number>();
  private readonly ended: EndedKeys;
  private readonly merger: Merger<KeyedEvent>;
  private readonly history: History;
  private readonly fanout: Fanout;
  private readonly ahead: Ahead;
  private readonly replays: Replays;
  private readonly catchUps: CatchUp;
  /** Revisions at or below this one stay out of the history, because some of their events were lost. */
  private gap: number;
  /** `Timeline.prunedAt` as of the last look. */
  private prunedAt = 0;
  /** True while the feeds bring previous keys. The history has them from `history.fullFrom` on. */
  private prevKv: boolean;
  private pumping = false;
  private readonly stopChecks: () => void;
  private readonly stopListening: () => void;
  private readonly stopFollowing: () => void;
  private closed = false;

  constructor(private readonly deps: WatchLoopDeps) {
    const { timeline, shards, historyBytes, log, stats, runtime, moves } = deps;
    // While a step is frozen, some events of the past may still count later.
    const start = Math.max(1, moves.feedFrom(timeline.head + 1) - 1);
    this.gap = start;
    this.prevKv = deps.prevKv;
    this.fanout = new Fanout(runtime.random);
    const { allocate } = new Slabs();
    const encoder = new EventEncoder(timeline, moves, allocate);
    this.feeds = new ShardFeeds(
      {
        timeline,
        shards,
        moves,
        log,
        runtime,
        stats,
        next: () => this.merger.delivered + 1,
        // Most events arrive before their seal. Those are delivered at the timeline's next advance.
        arrived: () => {
          if (this.merger.delivered < timeline.head) this.pumpSoon();
        },
        lost: (shard, compacted) => void this.lost(shard, compacted),
      },
      deps.prevKv,
    );
    this.ended = new EndedKeys({
      shards,
      moves,
      runtime,
      wants: () => true,
      arrived: () => this.pumpSoon(),
    });
    this.merger = new Merger(
      timeline,
      start,
      (shard) => this.feeds.source(shard),
      (events, shard, revision) =>
        events.map((raw) => ({ key: keyText(raw.key), event: encoder.encode(raw, shard, revision) })),
      moves,
      this.ended,
    );
    this.ahead = new Ahead({
      merger: this.merger,
      fanout: this.fanout,
      moves,
      runtime,
      wake: () => this.pumpSoon(),
    });
    this.history = new History(historyBytes, start + 1);
    if (this.prevKv) this.history.fullFrom = start + 1;
    this.replays = new Replays({
      timeline,
      shards,
      log,
      runtime,
      stats,
      moves,
      history: this.history,
      place: (watcher) => this.place(watcher),
      compacted: (watcher, revision) => deps.compacted(watcher, revision),
      progressed: deps.progressed,
    });
    this.catchUps = new CatchUp({
      history: this.history,
      stats,
      runtime,
      place: (watcher) => this.place(watcher),
      tooOld: (watcher) => this.replays.request(watcher),
      progressed: deps.progressed,
    });
    this.stopFollowing = shards.follow({
      added: () => this.feeds.update(),
      retired: (_, shard) => this.retired(shard),
    });
    this.stopListening = timeline.onAdvance(() => this.advanced());
    this.stopChecks = runtime.interval(CHECK_INTERVAL_MS, () => this.check(), true);
  }

  /** Puts a watcher that has no place into one. */
  place(watcher: Watcher): void {
    if (watcher.wantsPrevKv) this.bringPrevKv();
    const first = this.history.firstFor(watcher.wantsPrevKv);
    if (watcher.next > this.merger.delivered && watcher.next >= first) {
      const begin = this.beginFor(watcher);
      if (watcher.next < begin) {
        this.deps.compacted(watcher, begin);
        return;
      }
      watcher.state = "synced";
      this.fanout.add(watcher);
      this.ahead.arrived(watcher);
      this.deps.progressed();
    } else if (watcher.outlet.blocked) {
      watcher.state = "lagging";
    } else if (watcher.next >= first) {
      watcher.state = "lagging";
      this.catchUp(watcher);
    } else {
      this.replays.request(watcher);
    }
  }

  /** Removes a watcher from its place. */
  take(watcher: Watcher): void {
    if (watcher.state === "synced") {
      this.fanout.remove(watcher);
      this.ahead.left(watcher);
      watcher.told = 0;
    } else if (watcher.state === "lagging") {
      this.catchUps.remove(watcher);
    } else {
      this.replays.remove(watcher);
    }
    watcher.state = "detached";
  }

  /** To be called when a lagging watcher's client takes events. */
  catchUp(watcher: Watcher): void {
    this.catchUps.add(watcher);
  }

  /** Stops the feeds' previous keys. To be called when no watcher wants them. */
  dropPrevKv(): void {
    this.prevKv = false;
    this.history.fullFrom = Number.POSITIVE_INFINITY;
    this.feeds.dropPrevKv();
  }

  /** Returns the newest revision up to which the watcher has got all events; above the head for a start in the future. */
  position(watcher: Watcher): number {
    if (watcher.state !== "synced") return watcher.next - 1;
    watcher.told = Math.max(this.ahead.coveredBy(watcher), watcher.next - 1, watcher.told);
    return watcher.told;
  }

  get status(): Omit<WatchStatus, "lagging"> {
    const { timeline } = this.deps;
    return {
      synced: this.fanout.size,
      replaying: this.replays.size,
      undelivered: timeline.head - this.merger.delivered,
      missing: this.feeds.missing,
    };
  }

  /** Returns the first revision of which no event for the watcher's shards was lost. */
  private beginFor(watcher: Watcher): number {
    const shards = this.deps.moves.shardsOf(watcher.reach, watcher.next);
    return shards.reduce((latest, shard) => Math.max(latest, this.begins.get(shard) ?? 0), 0);
  }

  /** True if a shard that this watcher needs has had no watch for seconds: it is unreachable, or has no leader. */
  lacksLeader(watcher: Watcher): boolean {
    const next = watcher.state === "synced" ? this.merger.delivered + 1 : watcher.next;
    return this.deps.moves.shardsOf(watcher.reach, next).some((shard) => this.feeds.isOut(shard));
  }

  /** Ends all watches and timers. Watchers are not notified. */
  close(): void {
    this.closed = true;
    this.stopListening();
    this.stopFollowing();
    this.stopChecks();
    this.ahead.close();
    this.catchUps.close();
    this.replays.close();
    this.ended.close();
    this.feeds.closeAll();
  }

  private bringPrevKv(): void {
    if (this.prevKv) return;
    this.prevKv = true;
    this.feeds.bringPrevKv();
    this.checkPrevKv();
  }

  /** Checks if all undelivered events have previous keys. Until then replays serve the watchers that want them. */
  private checkPrevKv(): void {
    const { history, feeds, merger, replays } = this;
    if (!this.prevKv || history.fullFrom < Number.POSITIVE_INFINITY) return;
    if (merger.hasLater || feeds.lacksPrevKv) return;
    history.fullFrom = merger.ahead + 1;
    replays.advanced();
  }

  /**
   * The shard has left this proxy. A watcher that still needs it is below its last move, which a compaction has passed. Those of
   * its revisions that were not delivered are lost.
   */
  private retired(shard: number): void {
    // Shards retire when the placement changes, maybe before the loop has followed it: then it would seem to need the shard.
    this.advanced();
    this.replays.retired(shard);
    if (!this.feeds.retire(shard)) return;
    const { compactRevision } = this.deps.timeline;
    this.gap = Math.max(this.gap, compactRevision - 1);
    this.begins.set(shard, compactRevision);
    this.dropBelow(compactRevision, (watcher) => this.ahead.shardsOf(watcher.reach).includes(shard));
    this.pumpSoon();
  }

  private advanced(): void {
    const { moves } = this.deps;
    moves.refresh(Math.min(this.merger.delivered + 1, this.replays.oldest));
    this.learn();
    this.feeds.updateIfChanged();
    this.replays.advanced();
    this.pumpSoon();
  }

  private learn(): void {
    const { prunedAt } = this.deps.timeline;
    if (prunedAt > this.prunedAt) {
      this.prunedAt = prunedAt;
      if (this.merger.delivered + 1 < prunedAt) this.skipForgotten();
    }
    try {
      this.merger.learn();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.skipPruned();
    }
  }

  private pumpSoon(): void {
    if (this.closed || this.pumping) return;
    this.pumping = true;
    // In the same turn of the event loop, together with the response to the write.
    this.deps.runtime.soon(() => {
      this.pumping = false;
      if (!this.closed) this.pump();
    });
  }

  /** Delivers the revisions that are complete, in order. */
  private pump(): void {
    const { merger } = this;
    this.learn();
    const from = merger.delivered;
    // With a larger backlog revisions share responses, as for etcd's watchers that have fallen behind.
    const single = this.deps.timeline.head - from <= MAX_SINGLE_REVISIONS;
    let bytes = 0;
    let more = true;
    while (bytes < SLICE_BYTES && merger.delivered - from < SLICE_REVISIONS) {
      const merged = merger.next();
      if (merged === undefined) {
        more = false;
        break;
      }
      const { revision, events, early } = merged;
      const size = bytesOf(events);
      bytes += size;
      if (early) this.ahead.dropped(size);
      this.record(revision, events);
      this.fanout.offer(revision, events);
      if (single) this.send(revision);
    }
    this.fillHistory(merger.delivered);
    if (merger.ahead === merger.delivered) this.ahead.end();
    if (merger.delivered > from) {
      this.ahead.paid();
      this.flush(merger.delivered);
      this.replays.advanced();
      this.feeds.updateIfChanged();
    }
    this.checkPrevKv();
    if (more) this.pumpSoon();
    else if (merger.delivered < this.deps.timeline.head) this.pumpAhead();
    else this.ahead.paid();
  }

  private record(revision: number, events: readonly KeyedEvent[]): void {
    this.fillHistory(revision - 1);
    if (revision > this.gap) this.history.push(events);
    else this.history.restart(revision + 1);
  }

  /** Adds the revisions that the merger has skipped. They have no events. */
  private fillHistory(revision: number): void {
    const lost = Math.min(revision, this.gap);
    if (this.history.end <= lost) this.history.restart(lost + 1);
    while (this.history.end <= revision) this.history.push(NO_EVENTS);
  }

  /** Delivers later revisions to watchers that do not need the shards that owe. */
  private pumpAhead(): void {
    if (this.ahead.offer()) this.flush(undefined);
    if (this.ahead.isFull) this.stopKeeping();
    this.checkPrevKv();
  }

  /**
   * The revisions that were delivered ahead take too much memory. Those that need the shards that owe go to replays, which
   * read the revisions again once these shards are back. The others go on without them.
   */
  private stopKeeping(): void {
    const { moves } = this.deps;
    const { ahead, delivered } = this.merger;
    // While keys of a step move, events from before may count later.
    if (ahead === delivered || moves.feedFrom(ahead + 1) <= ahead) return;
    for (const watcher of this.fanout.members()) {
      const position = this.position(watcher);
      if (position >= ahead) continue;
      this.take(watcher);
      watcher.pass(position);
      this.replays.request(watcher);
    }
    this.continueAfter(ahead);
    this.pumpSoon();
  }

  /** Drops everything up to `revision`. */
  private continueAfter(revision: number): void {
    this.feeds.skip(revision + 1);
    this.merger.restart(revision);
    this.history.restart(revision + 1);
    this.ahead.end();
    this.merger.learn();
  }

  private flush(coveredForLate: number | undefined): void {
    this.send(coveredForLate);
    this.deps.progressed();
  }

  /**
   * Sends the events that watchers were offered, and moves those with slow clients to another place. Late watchers were
   * offered all events up to `coveredForLate`; if undefined, nothing.
   */
  private send(coveredForLate: number | undefined): void {
    const { merger, fanout, ahead } = this;
    // Ahead, a watcher is covered up to the first revision that one of its own shards owes.
    const slow =
      merger.ahead === merger.delivered
        ? fanout.flush(merger.delivered)
        : fanout.flush((reach) => ahead.covered(reach), { watchers: ahead.late, covered: coveredForLate });
    for (const watcher of slow) {
      if (watcher.state !== "synced") continue;
      this.take(watcher);
      this.place(watcher);
    }
  }

  /**
   * The shard was compacted beyond what its feed has. Ends the watchers that need the lost events, now or when they get
   * there, and restarts the feed at the compacted revision, where new watchers may have started already.
   */
  private async lost(shard: number, compacted: number): Promise<void> {
    const { timeline, shards, log, moves } = this.deps;
    const feed = this.feeds.get(shard);
    log.warn({ shard: shards.at(shard).name, compacted }, "shard was compacted before its events were seen");
    while (!timeline.isSealed(shard, compacted)) {
      await timeline.seal(shard, compacted, true).catch(() => this.pause(RETRY_DELAY_MS));
      if (this.closed) return;
    }
    await whenThawed(timeline, moves);
    const revision = await compactRevisionOf(timeline, shard, compacted);
    if (this.closed) return;
    this.gap = Math.max(this.gap, revision - 1);
    this.begins.set(shard, revision);
    this.feeds.reopen(shard, feed, compacted);
    this.dropBelow(revision, (watcher) => this.ahead.shardsOf(watcher.reach).includes(shard));
    this.pumpSoon();
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.deps.runtime.timer(ms, resolve);
    });
  }

  /** The timeline has pruned revisions that were not delivered, because this proxy was cut off for long. Skips them. */
  private skipPruned(): void {
    const { timeline, moves } = this.deps;
    const { compactRevision } = timeline;
    // Events of a step that count after the compaction may be from before it.
    const first = Math.max(this.merger.delivered + 1, moves.feedFrom(compactRevision));
    this.dropBelow(compactRevision, () => true);
    this.continueAfter(first - 1);
  }

  /**
   * The timeline was pruned at a revision that was not delivered. Events from before it may name revisions that are forgotten by
   * now: those of their keys' creation, and of the values before. So the watchers that need such events end.
   */
  private skipForgotten(): void {
    const { compactRevision } = this.deps.timeline;
    const { merger } = this;
    this.dropBelow(compactRevision, () => true);
    const first = Math.max(merger.delivered + 1, this.deps.moves.feedFrom(compactRevision));
    if (merger.ahead < first) this.continueAfter(first - 1);
    else this.stopKeeping();
  }

  /** Ends the affected watchers that need revisions below `compactRevision`. */
  private dropBelow(compactRevision: number, isAffected: (watcher: Watcher) => boolean): void {
    for (const watcher of this.fanout.members()) {
      if (!isAffected(watcher) || this.position(watcher) + 1 >= compactRevision) continue;
      this.take(watcher);
      this.deps.compacted(watcher, compactRevision);
    }
  }

  private check(): void {
    this.feeds.check();
    this.replays.reopenSilent(SILENCE_LIMIT_MS);
    if (this.feeds.isAnyOut) this.deps.outage();
  }
}

const NO_EVENTS: readonly KeyedEvent[] = [];
