import type { Logger } from "../ops/log.js";
import type { Shard } from "../shard/shard.js";
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

export interface RunDeps {
  readonly timeline: Timeline;
  /** In configured order. */
  readonly shards: readonly Shard[];
  readonly log: Pick<Logger, "info" | "warn">;
  readonly runtime: Runtime;
  readonly stats: WatchStats;
  /** Memory for the events of recent revisions, bytes. */
  readonly historyBytes: number;
  /** Whether events come with their previous keys from the beginning on. */
  readonly prevKv: boolean;
  /** Watchers may have come further. */
  progressed(): void;
  /** Some shard is out; told again and again as long as that is so. */
  outage(): void;
  /** A watcher has been taken out of its place because what it needs was compacted. */
  compacted(watcher: Watcher, compactRevision: number): void;
}

/** What is handed out before others have their turn: revisions, and bytes of events. */
const SLICE_REVISIONS = 1_000;
const SLICE_BYTES = 4 << 20;
/** Backlog, in revisions, with which watchers keep up: each revision has responses of its own, as from etcd. */
const SINGLE_REVISIONS = 8;
/** How long a shard may owe a revision before those that do not need the shard are served without it, ms. */
const AHEAD_AFTER = 300;
/** Bytes of events that are handed out ahead; with more the shard is waited for after all. */
const AHEAD_BYTES = 16 << 20;
/** How often feeds are looked at, and how long a shard may owe what is sealed until its watch is opened anew, ms. */
const CHECK_INTERVAL = 1_000;
const SILENCE_LIMIT = 5_000;
/** How long a shard may carry no watch until it counts as out, ms; without a leader etcd waits for three elections. */
const OUTAGE_LIMIT = 4_000;
const RETRY_DELAY = 1_000;

/** The hub while it runs: upstream watches, merged revisions, their history, and every attached watcher's place. */
export class Running {
  private readonly feeds: Feed[];
  /** Shard → the first revision that is not lost to its watchers, 0 where nothing was. */
  private readonly begins: number[];
  private readonly sealers: readonly Sealer[];
  private readonly merger: Merger<KeyedEvent[]>;
  private readonly history: History;
  private readonly fanout: Fanout;
  private readonly replays: Replays;
  private readonly catchUps: CatchUp;
  /** Synced watchers that came in the midst of what is handed out ahead: they get all of it in its turn. */
  private readonly late = new Set<Watcher>();
  /** Revisions at or below it stay out of the history: not all of them are known. */
  private gap: number;
  /** Whether the feeds are to bring previous keys. Where the history has them `history.fullFrom` tells. */
  private prevKv: boolean;
  private aheadBytes = 0;
  /** Since when a shard owes the next revision, `Runtime.now()`. */
  private owedSince: number | undefined;
  private stopAheadTimer: (() => void) | undefined;
  private pumping = false;
  private readonly stopChecks: () => void;
  private readonly stopListening: () => void;
  private closed = false;

  constructor(private readonly deps: RunDeps) {
    const { timeline, shards, historyBytes, log, stats, runtime } = deps;
    const { head } = timeline;
    this.gap = head;
    this.prevKv = deps.prevKv;
    this.begins = shards.map(() => 0);
    this.fanout = new Fanout(runtime.random);
    const { allocate } = new Slabs();
    // The events' own revision is known: a pruned timeline may have forgotten it by now.
    const own = { shardRevision: 0, revision: 0 };
    const maps = shards.map(
      (_, shard) => (shardRevision: number) =>
        shardRevision === own.shardRevision ? own.revision : timeline.toRevision(shard, shardRevision),
    );
    this.merger = new Merger(
      timeline,
      head,
      (shard) => this.feeds[shard],
      (events, shard, revision) =>
        events.map((raw) => {
          own.shardRevision = raw.modRevision;
          own.revision = revision;
          return { key: keyText(raw.key), event: encodeEvent(raw, maps[shard], allocate) };
        }),
    );
    this.history = new History(historyBytes, head + 1);
    if (this.prevKv) this.history.fullFrom = head + 1;
    this.sealers = shards.map(
      (_, shard) => new Sealer(timeline, shard, () => this.feeds[shard].sighted, runtime),
    );
    this.feeds = shards.map((_, shard) => this.openFeed(shard, timeline.cut(shard) + 1, false));
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
    this.stopChecks = runtime.interval(CHECK_INTERVAL, () => this.check(), true);
  }

  /** Puts a watcher that is in no place where it belongs. */
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

  /** Takes a watcher out of its place. */
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

  /** A lagging watcher's client takes events. */
  catchUp(watcher: Watcher): void {
    this.catchUps.add(watcher);
  }

  /** No watcher wants previous keys any more: the shards need not read them. */
  dropPrevKv(): void {
    this.prevKv = false;
    this.history.fullFrom = Number.POSITIVE_INFINITY;
    this.check();
  }

  /** Newest revision at or below which the watcher is shown nothing any more; beyond the head for a start in the future. */
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
      missing: this.feeds.map((feed, shard) => Math.max(0, timeline.cut(shard) - feed.reached)),
    };
  }

  /** The first revision that the upstream watches bring of all its shards, as far as one has begun anew. */
  private beginFor(watcher: Watcher): number {
    return watcher.shards.reduce((latest, shard) => Math.max(latest, this.begins[shard]), 0);
  }

  /** Up to which revision the synced watchers of these shards have been offered all, in its turn or ahead; but for late ones. */
  private coveredFor(shards: readonly number[]): number {
    const { delivered, ahead, owing } = this.merger;
    if (ahead === delivered) return delivered;
    let covered = ahead;
    for (const shard of shards) covered = Math.min(covered, (owing.get(shard) ?? covered + 1) - 1);
    return Math.max(covered, delivered);
  }

  /** True when a shard has carried no watch for seconds: it can not be reached, or has no leader. */
  isOut(shard: number): boolean {
    return this.feeds[shard].broken > OUTAGE_LIMIT;
  }

  close(): void {
    this.closed = true;
    this.stopListening();
    this.stopChecks();
    this.stopAheadTimer?.();
    this.catchUps.close();
    this.replays.close();
    for (const sealer of this.sealers) sealer.close();
    for (const feed of this.feeds) feed.close();
  }

  private bringPrevKv(): void {
    if (this.prevKv) return;
    this.prevKv = true;
    for (const feed of this.feeds) feed.bringPrevKv(true);
    this.checkPrevKv();
  }

  /** Whether all that is still to be handed out has its previous keys: until then replays serve those that want them. */
  private checkPrevKv(): void {
    const { history, feeds, merger, replays } = this;
    if (!this.prevKv || history.fullFrom < Number.POSITIVE_INFINITY) return;
    if (feeds.some((feed) => feed.lacksPrevKv)) return;
    history.fullFrom = merger.ahead + 1;
    replays.advanced();
  }

  private openFeed(shard: number, from: number, fromCompacted: boolean): Feed {
    const { shards, log, stats, runtime } = this.deps;
    return new Feed({
      shard: shards[shard],
      stats: stats.upstream[shard],
      from,
      fromCompacted,
      prevKv: this.prevKv,
      log,
      runtime,
      arrived: () => {
        this.sealers[shard].sighted();
        // Mostly an event comes before its seal: then it is the timeline's next advance that hands it out.
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
      this.skipForgotten();
    }
  }

  private pumpSoon(): void {
    if (this.closed || this.pumping) return;
    this.pumping = true;
    // With the answer to the write, and in the same turn of the event loop.
    this.deps.runtime.soon(() => {
      this.pumping = false;
      if (!this.closed) this.pump();
    });
  }

  /** Hands out what is there, in order. */
  private pump(): void {
    const { merger } = this;
    this.learn();
    const from = merger.delivered;
    // With more to hand out revisions share responses, as with etcd's watchers that have fallen behind.
    const single = this.deps.timeline.head - from <= SINGLE_REVISIONS;
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

  /** A shard that is down holds only those that need it. */
  private pumpAhead(): void {
    const now = this.deps.runtime.now();
    this.owedSince ??= now;
    if (now - this.owedSince < AHEAD_AFTER) {
      this.stopAheadTimer ??= this.deps.runtime.timer(AHEAD_AFTER, () => {
        this.stopAheadTimer = undefined;
        this.pumpSoon();
      });
      return;
    }
    const { merger } = this;
    const before = merger.ahead;
    while (this.aheadBytes < AHEAD_BYTES) {
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
   * Sends what watchers were offered, and finds another place for those that could not take it. Late ones have been
   * offered all up to `coveredForLate`, or nothing.
   */
  private send(coveredForLate: number | undefined): void {
    const { merger, fanout, late } = this;
    // Handed out ahead, a watcher's events end where its own shards begin to owe.
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
   * The shard was compacted beyond what its feed has: whoever needs that is told, now or when they come to it, and the
   * feed begins anew with the first that is left, where others may have started already.
   */
  private async lost(shard: number, compacted: number): Promise<void> {
    const { timeline, shards, log } = this.deps;
    log.warn({ shard: shards[shard].name, compacted }, "shard was compacted before its events were seen");
    while (!timeline.isSealed(shard, compacted)) {
      await timeline.seal(shard, compacted, true).catch(() => this.pause(RETRY_DELAY));
      if (this.closed) return;
    }
    const revision = await compactRevisionOf(timeline, shard, compacted);
    if (this.closed) return;
    this.gap = Math.max(this.gap, revision - 1);
    this.begins[shard] = revision;
    this.feeds[shard] = this.openFeed(shard, compacted, true);
    this.dropBelow(revision, (watcher) => watcher.shards.includes(shard));
    this.pumpSoon();
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.deps.runtime.timer(ms, resolve);
    });
  }

  /** The timeline itself has forgotten revisions that were not handed out: this proxy was away for long. */
  private skipForgotten(): void {
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

  private dropBelow(compactRevision: number, concerned: (watcher: Watcher) => boolean): void {
    for (const watcher of this.fanout.members()) {
      if (!concerned(watcher) || this.position(watcher) + 1 >= compactRevision) continue;
      this.take(watcher);
      this.deps.compacted(watcher, compactRevision);
    }
  }

  private check(): void {
    this.feeds.forEach((feed, shard) => {
      if (feed.reached < this.deps.timeline.cut(shard)) {
        if (feed.silence > SILENCE_LIMIT) feed.reopen();
      } else if (!this.prevKv) {
        // Not while it owes something: a compaction could overtake the next watch, where this one still brings all.
        feed.bringPrevKv(false);
      }
    });
    this.replays.reopenSilent(SILENCE_LIMIT);
    if (this.feeds.some((_, shard) => this.isOut(shard))) this.deps.outage();
  }
}

function sizeOf(events: readonly KeyedEvent[]): number {
  return events.reduce((sum, { event }) => sum + event.full.length, 0);
}
