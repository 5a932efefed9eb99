import type { Logger } from "../ops/log.js";
import { ShardSet } from "../shard/shardSet.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import { Slabs } from "../turn/slabs.js";
import { encodeEvent } from "../wire/watch.js";
import { CatchUp } from "./catchUp.js";
import { compactRevisionOf, firstNeeded } from "./compaction.js";
import { Fanout } from "./fanout.js";
import { Feed } from "./feed.js";
import { History, type KeyedEvent } from "./history.js";
import { keyText } from "./keys.js";
import { Merger } from "./merger.js";
import { Replays } from "./replay.js";
import { Sealer } from "./sealer.js";
import type { WatchStats, WatchStatus } from "./stats.js";
import type { Watcher } from "./watcher.js";

export interface WatchLoopDeps {
  readonly timeline: Timeline;
  readonly shards: ShardSet;
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
/** How long a shard may owe a revision before watchers that do not need the shard get later revisions. */
const AHEAD_DELAY_MS = 300;
/** Most bytes of events that are delivered ahead of a revision that a shard owes. */
const MAX_AHEAD_BYTES = 16 << 20;
/** How often feeds are checked. */
const CHECK_INTERVAL_MS = 1_000;
/** A watch is reopened if its shard owes a sealed revision and has been silent for this long. */
const SILENCE_LIMIT_MS = 5_000;
/** A shard without a watch for this long counts as out. etcd waits for three elections before it reports a lost leader. */
const OUTAGE_LIMIT_MS = 4_000;
const RETRY_DELAY_MS = 1_000;

/**
 * The hub's working part, from the first watcher to the last: the upstream watches, the merged revisions, their history,
 * and the place of each attached watcher. A place is the fan-out, the history or a replay.
 */
export class WatchLoop {
  private readonly feeds = new ShardSet<Feed>();
  /** By shard: the first revision whose events were not lost, where some were. */
  private readonly begins = new Map<number, number>();
  private readonly sealers = new ShardSet<Sealer>();
  private readonly merger: Merger<KeyedEvent[]>;
  private readonly history: History;
  private readonly fanout: Fanout;
  private readonly replays: Replays;
  private readonly catchUps: CatchUp;
  /** Synced watchers that arrived while revisions were delivered ahead. They get all revisions in order. */
  private readonly late = new Set<Watcher>();
  /** Revisions at or below this one stay out of the history, because some of their events were lost. */
  private gap: number;
  /** True while the feeds bring previous keys. The history has them from `history.fullFrom` on. */
  private prevKv: boolean;
  /** Bytes of events delivered ahead. */
  private aheadBytes = 0;
  /** Since when a shard has owed the next revision, `Runtime.now()`. */
  private owedSince: number | undefined;
  private stopAheadTimer: (() => void) | undefined;
  private pumping = false;
  private readonly stopChecks: () => void;
  private readonly stopListening: () => void;
  private readonly stopFollowing: () => void;
  private closed = false;

  constructor(private readonly deps: WatchLoopDeps) {
    const { timeline, shards, historyBytes, log, stats, runtime } = deps;
    const { head } = timeline;
    this.gap = head;
    this.prevKv = deps.prevKv;
    this.fanout = new Fanout(runtime.random);
    const { allocate } = new Slabs();
    // The events' own revision is known here. It may have been pruned from the timeline.
    const own = { shard: 0, shardRevision: 0, revision: 0 };
    const map = (shardRevision: number) =>
      shardRevision === own.shardRevision ? own.revision : timeline.toRevision(own.shard, shardRevision);
    this.merger = new Merger(
      timeline,
      head,
      (shard) => this.feeds.find(shard),
      (events, shard, revision) => {
        own.shard = shard;
        own.revision = revision;
        return events.map((raw) => {
          own.shardRevision = raw.modRevision;
          return { key: keyText(raw.key), event: encodeEvent(raw, map, allocate) };
        });
      },
    );
    this.history = new History(historyBytes, head + 1);
    if (this.prevKv) this.history.fullFrom = head + 1;
    this.stopFollowing = shards.follow({
      added: (_, shard) => {
        this.sealers.add(shard, new Sealer(timeline, shard, () => this.feed(shard).sighted, runtime));
        const from = firstNeeded(timeline, this.merger.delivered + 1, shard);
        this.feeds.add(shard, this.openFeed(shard, from, false));
      },
      retired: (_, shard) => this.retired(shard),
    });
    this.replays = new Replays({
      timeline,
      shards,
      log,
      runtime,
      stats,
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
      if (watcher.next <= this.merger.ahead) this.late.add(watcher);
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
      this.late.delete(watcher);
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
    this.check();
  }

  /** Returns the newest revision up to which the watcher has got all events; above the head for a start in the future. */
  position(watcher: Watcher): number {
    if (watcher.state !== "synced") return watcher.next - 1;
    const { delivered } = this.merger;
    const covered = this.late.has(watcher) ? delivered : this.coveredFor(watcher.shards);
    return Math.max(covered, watcher.next - 1);
  }

  get status(): Omit<WatchStatus, "lagging"> {
    const { timeline } = this.deps;
    return {
      synced: this.fanout.size,
      replaying: this.replays.size,
      undelivered: timeline.head - this.merger.delivered,
      missing: new Map(
        this.feeds.entries().map(([shard, feed]) => [shard, Math.max(0, timeline.cut(shard) - feed.reached)]),
      ),
    };
  }

  /** Returns the first revision of which no event for the watcher's shards was lost. */
  private beginFor(watcher: Watcher): number {
    return watcher.shards.reduce((latest, shard) => Math.max(latest, this.begins.get(shard) ?? 0), 0);
  }

  /** Returns the revision up to which synced watchers of these shards were offered all events. Not for late watchers. */
  private coveredFor(shards: readonly number[]): number {
    const { delivered, ahead, owing } = this.merger;
    if (ahead === delivered) return delivered;
    let covered = ahead;
    for (const shard of shards) covered = Math.min(covered, (owing.get(shard) ?? covered + 1) - 1);
    return Math.max(covered, delivered);
  }

  /** True if a shard has had no watch for seconds: it is unreachable, or has no leader. */
  isOut(shard: number): boolean {
    // A shard that has retired is not missed.
    return (this.feeds.find(shard)?.broken ?? 0) > OUTAGE_LIMIT_MS;
  }

  /** Ends all watches and timers. Watchers are not notified. */
  close(): void {
    this.closed = true;
    this.stopListening();
    this.stopFollowing();
    this.stopChecks();
    this.stopAheadTimer?.();
    this.catchUps.close();
    this.replays.close();
    for (const sealer of this.sealers.all()) sealer.close();
    for (const feed of this.feeds.all()) feed.close();
  }

  private bringPrevKv(): void {
    if (this.prevKv) return;
    this.prevKv = true;
    for (const feed of this.feeds.all()) feed.bringPrevKv(true);
    this.checkPrevKv();
  }

  /** Checks if all undelivered events have previous keys. Until then replays serve the watchers that want them. */
  private checkPrevKv(): void {
    const { history, feeds, merger, replays } = this;
    if (!this.prevKv || history.fullFrom < Number.POSITIVE_INFINITY) return;
    if (feeds.all().some((feed) => feed.lacksPrevKv)) return;
    history.fullFrom = merger.ahead + 1;
    replays.advanced();
  }

  private openFeed(shard: number, from: number, fromCompacted: boolean): Feed {
    const { shards, log, stats, runtime } = this.deps;
    return new Feed({
      shard: shards.at(shard),
      stats: stats.upstream.at(shard),
      from,
      fromCompacted,
      prevKv: this.prevKv,
      log,
      runtime,
      arrived: () => {
        this.sealers.at(shard).sighted();
        // Most events arrive before their seal. Those are delivered at the timeline's next advance.
        if (this.merger.delivered < this.deps.timeline.head) this.pumpSoon();
      },
      lost: (compacted) => void this.lost(shard, compacted),
    });
  }

  private advanced(): void {
    this.learn();
    this.replays.advanced();
    this.pumpSoon();
  }

  private learn(): void {
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
      const size = sizeOf(events);
      bytes += size;
      if (early) this.aheadBytes -= size;
      if (revision > this.gap) this.history.push(events);
      else this.history.restart(revision + 1);
      this.fanout.offer(revision, events);
      if (single) this.send(revision);
    }
    if (merger.ahead === merger.delivered) this.late.clear();
    if (merger.delivered > from) {
      this.owedSince = undefined;
      this.flush(merger.delivered);
      this.replays.advanced();
    }
    this.checkPrevKv();
    if (more) this.pumpSoon();
    else if (merger.delivered < this.deps.timeline.head) this.pumpAhead();
    else this.owedSince = undefined;
  }

  /** Delivers later revisions to watchers that do not need the shards that owe. */
  private pumpAhead(): void {
    const now = this.deps.runtime.now();
    this.owedSince ??= now;
    if (now - this.owedSince < AHEAD_DELAY_MS) {
      this.stopAheadTimer ??= this.deps.runtime.timer(AHEAD_DELAY_MS, () => {
        this.stopAheadTimer = undefined;
        this.pumpSoon();
      });
      return;
    }
    const { merger } = this;
    const before = merger.ahead;
    while (this.aheadBytes < MAX_AHEAD_BYTES) {
      const merged = merger.nextAhead();
      if (merged === undefined) break;
      this.aheadBytes += sizeOf(merged.events);
      this.fanout.offer(
        merged.revision,
        merged.events,
        (shards) => !shards.some((one) => merger.owing.has(one)),
      );
    }
    if (merger.ahead > before) this.flush(undefined);
    this.checkPrevKv();
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
    const { merger, fanout, late } = this;
    // Ahead, a watcher is covered up to the first revision that one of its own shards owes.
    const slow =
      merger.ahead === merger.delivered
        ? fanout.flush(merger.delivered)
        : fanout.flush((shards) => this.coveredFor(shards), { watchers: late, covered: coveredForLate });
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
    const { timeline, shards, log } = this.deps;
    log.warn({ shard: shards.at(shard).name, compacted }, "shard was compacted before its events were seen");
    while (!timeline.isSealed(shard, compacted)) {
      await timeline.seal(shard, compacted, true).catch(() => this.pause(RETRY_DELAY_MS));
      if (this.closed) return;
    }
    const revision = await compactRevisionOf(timeline, shard, compacted);
    if (this.closed) return;
    this.gap = Math.max(this.gap, revision - 1);
    this.begins.set(shard, revision);
    this.feeds.add(shard, this.openFeed(shard, compacted, true));
    this.dropBelow(revision, (watcher) => watcher.shards.includes(shard));
    this.pumpSoon();
  }

  /** Revisions of the shard that were not delivered are lost. */
  private retired(shard: number): void {
    const { timeline } = this.deps;
    this.sealers.at(shard).close();
    this.feeds.at(shard).close();
    this.sealers.retire(shard);
    this.feeds.retire(shard);
    if (this.merger.delivered === timeline.head) return;
    this.gap = Math.max(this.gap, timeline.head);
    this.begins.set(shard, timeline.head + 1);
    this.dropBelow(timeline.head + 1, (watcher) => watcher.shards.includes(shard));
    this.pumpSoon();
  }

  private feed(shard: number): Feed {
    return this.feeds.at(shard);
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.deps.runtime.timer(ms, resolve);
    });
  }

  /** The timeline has pruned revisions that were not delivered, because this proxy was cut off for long. Skips them. */
  private skipPruned(): void {
    const { timeline } = this.deps;
    const { compactRevision } = timeline;
    for (const [shard, feed] of this.feeds.entries())
      feed.skip(firstNeeded(timeline, compactRevision, shard));
    this.dropBelow(compactRevision, () => true);
    this.merger.restart(compactRevision - 1);
    this.history.restart(compactRevision);
    this.aheadBytes = 0;
    this.late.clear();
    this.merger.learn();
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
    for (const [shard, feed] of this.feeds.entries()) {
      if (feed.reached < this.deps.timeline.cut(shard)) {
        if (feed.silence > SILENCE_LIMIT_MS) feed.reopen();
      } else if (!this.prevKv) {
        // Not while the shard owes a revision: a compaction could overtake a new watch, and this one still brings all events.
        feed.bringPrevKv(false);
      }
    }
    this.replays.reopenSilent(SILENCE_LIMIT_MS);
    if (this.feeds.entries().some(([shard]) => this.isOut(shard))) this.deps.outage();
  }
}

function sizeOf(events: readonly KeyedEvent[]): number {
  return events.reduce((sum, { event }) => sum + event.full.length, 0);
}
