import type { Logger } from "../ops/log.js";
import type { ShardSet } from "../shard/shardSet.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import { firstNeeded } from "./compaction.js";
import { Feed } from "./feed.js";
import { NOT_OPEN, type Source } from "./merger.js";
import type { Moves } from "./moves.js";
import { Sealer } from "./sealer.js";
import type { WatchStats } from "./stats.js";

export interface ShardFeedsDeps {
  readonly timeline: Timeline;
  readonly shards: ShardSet;
  readonly moves: Moves;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly runtime: Runtime;
  readonly stats: WatchStats;
  /** The first revision that was not delivered. */
  next(): number;
  /** Called when a feed has reached further. */
  arrived(): void;
  /** Called when a feed has ended because its shard was compacted, see `Feed`. */
  lost(shard: number, compacted: number): void;
}

/** A feed is opened again if its shard owes a sealed revision and has been silent for this long. */
export const SILENCE_LIMIT_MS = 5_000;
/** A shard without a watch for this long counts as out. etcd waits for three elections before it reports a lost leader. */
const OUTAGE_LIMIT_MS = 4_000;

/** The feeds and sealers of a loop: those of the shards whose events may count at revisions that were not delivered. */
export class ShardFeeds {
  private readonly feeds = new Map<number, Feed>();
  private readonly sealers = new Map<number, Sealer>();
  private readonly retired = new Set<number>();
  private inUse: readonly number[] = [];

  constructor(
    private readonly deps: ShardFeedsDeps,
    /** True while the feeds bring previous keys. */
    private prevKv: boolean,
  ) {}

  /** Opens the feeds of shards that have come into use, and closes those of shards that no watcher needs any more. */
  update(): void {
    const { moves, timeline, shards, runtime } = this.deps;
    const first = this.deps.next();
    const inUse = moves.shardsInUse(first);
    this.inUse = inUse;
    for (const shard of inUse) {
      if (this.feeds.has(shard) || shards.find(shard) === undefined) continue;
      this.retired.delete(shard);
      const newest = () => this.feeds.get(shard)?.sighted ?? 0;
      this.sealers.set(shard, new Sealer(timeline, shard, newest, runtime));
      const from = first > timeline.head ? timeline.cut(shard) + 1 : firstNeeded(timeline, first, shard);
      this.feeds.set(shard, this.open(shard, from, false));
    }
    for (const shard of [...this.feeds.keys()]) if (!inUse.includes(shard)) this.close(shard);
  }

  /** `update`, if the shards in use have changed. */
  updateIfChanged(): void {
    if (this.deps.moves.shardsInUse(this.deps.next()) !== this.inUse) this.update();
  }

  /** Undefined for a shard of which no event counts. */
  source(shard: number): Source | undefined {
    const feed = this.feeds.get(shard);
    if (feed !== undefined || this.retired.has(shard)) return feed;
    return this.inUse.includes(shard) ? NOT_OPEN : undefined;
  }

  /** The feed of a shard in use. */
  get(shard: number): Feed | undefined {
    return this.feeds.get(shard);
  }

  /** Opens a feed from a compacted revision instead of `lost`, unless that is closed by now. */
  reopen(shard: number, lost: Feed | undefined, compacted: number): void {
    if (this.feeds.get(shard) === lost) this.feeds.set(shard, this.open(shard, compacted, true));
  }

  /** To be called when a shard has left this proxy. Returns false if no watcher needs it. */
  retire(shard: number): boolean {
    this.retired.add(shard);
    const isNeeded = this.feeds.has(shard);
    this.close(shard);
    return isNeeded;
  }

  /** Makes the feeds bring previous keys. */
  bringPrevKv(): void {
    this.prevKv = true;
    for (const feed of this.feeds.values()) feed.bringPrevKv(true);
  }

  /** Lets the feeds stop to bring previous keys. */
  dropPrevKv(): void {
    this.prevKv = false;
    this.check();
  }

  /** True if some events that wait to be taken came without previous keys. */
  get lacksPrevKv(): boolean {
    for (const feed of this.feeds.values()) if (feed.lacksPrevKv) return true;
    return false;
  }

  /** By shard: sealed shard revisions that its feed has not brought yet. */
  get missing(): Map<number, number> {
    const { timeline } = this.deps;
    return new Map(
      [...this.feeds].map(([shard, feed]) => [shard, Math.max(0, timeline.cut(shard) - feed.reached)]),
    );
  }

  /** Drops events from before `revision`. */
  skip(revision: number): void {
    for (const [shard, feed] of this.feeds) feed.skip(firstNeeded(this.deps.timeline, revision, shard));
  }

  /** True if a shard has had no watch for seconds: it is unreachable, or has no leader. */
  isOut(shard: number): boolean {
    return (this.feeds.get(shard)?.broken ?? 0) > OUTAGE_LIMIT_MS;
  }

  get isAnyOut(): boolean {
    return [...this.feeds.keys()].some((shard) => this.isOut(shard));
  }

  /** To be called from time to time. Opens silent feeds again. */
  check(): void {
    this.update();
    for (const [shard, feed] of this.feeds) {
      if (feed.reached < this.deps.timeline.cut(shard)) {
        if (feed.silence > SILENCE_LIMIT_MS) feed.reopen();
      } else if (!this.prevKv) {
        // Not while the shard owes a revision: a compaction could overtake a new watch, and this one still brings all events.
        feed.bringPrevKv(false);
      }
    }
  }

  closeAll(): void {
    for (const shard of [...this.feeds.keys()]) this.close(shard);
  }

  private close(shard: number): void {
    this.feeds.get(shard)?.close();
    this.sealers.get(shard)?.close();
    this.feeds.delete(shard);
    this.sealers.delete(shard);
  }

  private open(shard: number, from: number, fromCompacted: boolean): Feed {
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
        this.sealers.get(shard)?.sighted();
        this.deps.arrived();
      },
      lost: (compacted) => this.deps.lost(shard, compacted),
    });
  }
}
