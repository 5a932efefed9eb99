import type { Logger } from "../ops/log.js";
import type { Shard, ShardStream } from "../shard/shard.js";
import { withDetail } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";
import { Slabs } from "../turn/slabs.js";
import { NO_KEY, TO_LAST_KEY } from "../wire/keyRange.js";
import { WatchRequest } from "../wire/messages.js";
import { KV, Watch } from "../wire/paths.js";
import { PROBE } from "../wire/probe.js";
import { decodeWatch, type RawEvent } from "../wire/watch.js";
import type { UpstreamStats } from "./stats.js";

export interface FeedOptions {
  readonly shard: Shard;
  /** First shard revision wanted, at least 1. */
  readonly from: number;
  /**
   * Whether the feed may begin exactly at the shard's compacted revision, as a native watch may. etcd before 3.5.18
   * has no event for a key deleted there; the feed then goes on without it.
   */
  readonly fromCompacted: boolean;
  /** Whether the events come with their previous keys. For that an etcd reads each key once more, see `bringPrevKv`. */
  readonly prevKv: boolean;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly runtime: Runtime;
  readonly stats: UpstreamStats;
  /** `reached` has moved. */
  arrived(): void;
  /**
   * The shard was compacted at `compacted` (or has, for whatever reason, nothing before it any more) and the feed needs
   * something older: it has ended. Called once, never from within the constructor.
   */
  lost(compacted: number): void;
}

/**
 * Bytes of events that may wait for others; above it the feed takes nothing from its shard until half is gone. A
 * revision that is not complete cannot be taken by anybody: its rest comes in however large it is.
 */
const QUEUE_BYTES = 16 << 20;
/** What an event takes in memory besides its bytes, about. */
const EVENT_OVERHEAD = 200;
const MIN_BACKOFF = 50;
const MAX_BACKOFF = 2_000;
/** A watch that lived this long was a success, ms: the next one need not wait. */
const STABLE = 2 * MAX_BACKOFF;
/** How long the events of the compacted revision itself may take, ms; a native watch has them within 100. */
const COMPACTED_PATIENCE = 1_000;
/** An etcd that takes longer for an answer may also be late with those events, ms. */
const PROMPT = 500;
const NOTHING: readonly RawEvent[] = [];

/**
 * All events of one shard from a shard revision on, complete and in order, over one native watch of the whole
 * keyspace.
 *
 * Every shard revision brings at least one event, and a revision ends where the next one begins or with a frame that
 * is no fragment; so `reached` tells for sure that nothing at or below it is missing, and a gap is noticed. A watch that ends for whatever
 * reason is opened again after what was reached. It begins one revision early: a shard that was compacted beyond
 * that says so, and no event of the compaction's own revision, which may be gone, is waited for. The first watch does not,
 * unless it may begin at what is compacted: etcd takes up to 100 ms to bring a watch up that begins in the past, and none
 * for one that begins with the next write. Should the event be gone, the next one shows that it is missing.
 */
export class Feed {
  /** Every event at or below this shard revision is in the queue or has been taken. */
  reached: number;
  /** Newest shard revision seen complete in which a client's key has changed; at most `reached`. */
  sighted = 0;
  /** Newest shard revision of which this watch has brought at least a part. */
  private seen: number;
  /** Where `reached` was when a revision was missing after it. */
  private gapAfter = -1;
  private queue: Entry[] = [];
  /** Entries of `queue` before this place have been taken. */
  private taken = 0;
  private queuedBytes = 0;
  private readonly slabs = new Slabs();
  private prevKv: boolean;
  /** Events at or below this shard revision have come without previous keys. */
  private plainUpTo = 0;
  private stream: ShardStream | undefined;
  private paused = false;
  private closed = false;
  private backoff = MIN_BACKOFF;
  private openedAt = 0;
  private stopTimer = () => {};
  /** The next watch begins at the compacted revision itself. */
  private atCompacted = false;
  /** The next watch begins one revision early. */
  private early: boolean;
  private readonly runtime: Runtime;
  private heardAt: number;
  /** Since when the shard carries no watch of this feed, `Runtime.now()`. */
  private brokenSince: number | undefined;
  private said = "";

  constructor(private readonly options: FeedOptions) {
    this.runtime = options.runtime;
    this.heardAt = this.runtime.now();
    this.brokenSince = this.heardAt;
    this.reached = options.from - 1;
    this.seen = this.reached;
    this.prevKv = options.prevKv;
    this.early = options.fromCompacted;
    this.open();
  }

  /** Milliseconds since the shard was last heard of; 0 while the feed itself takes nothing. */
  get silence(): number {
    return this.paused ? 0 : this.runtime.now() - this.heardAt;
  }

  /** For how many milliseconds the shard has carried no watch: it can not be reached, or has no leader. */
  get broken(): number {
    return this.brokenSince === undefined ? 0 : this.runtime.now() - this.brokenSince;
  }

  /** Whether there is a complete revision to be taken. */
  private get offers(): boolean {
    return this.taken < this.queue.length && this.queue[this.taken].shardRevision <= this.reached;
  }

  /** Whether some of the events that wait to be taken have come without their previous keys before `bringPrevKv(true)`. */
  get lacksPrevKv(): boolean {
    return this.taken < this.queue.length && this.queue[this.taken].shardRevision <= this.plainUpTo;
  }

  /**
   * From now on events come with their previous keys, or without. The native watch is opened anew: an etcd whose watch wants
   * the previous keys of everything takes less than half of the writes (16 x 16 requests, etcd 3.4).
   */
  bringPrevKv(wanted: boolean): void {
    if (this.prevKv === wanted) return;
    this.prevKv = wanted;
    if (wanted) this.plainUpTo = this.reached;
    if (this.stream === undefined) return;
    this.stream.cancel();
    // As with any other loss: it counts as out from now on if this one can not be opened.
    this.brokenSince ??= this.runtime.now();
    this.open();
  }

  /** The events of a shard revision at or below `reached`, in order, without those of reserved keys. Ascending calls. */
  take(shardRevision: number): readonly RawEvent[] {
    let events = NOTHING;
    while (this.taken < this.queue.length) {
      const entry = this.queue[this.taken];
      if (entry.shardRevision > shardRevision) break;
      if (entry.shardRevision === shardRevision) events = entry.events;
      this.queuedBytes -= entry.bytes;
      this.taken++;
    }
    if (this.taken === this.queue.length) {
      this.queue.length = 0;
      this.taken = 0;
    } else if (this.taken > 1_024 && this.taken * 2 > this.queue.length) {
      this.queue.splice(0, this.taken);
      this.taken = 0;
    }
    if (this.paused && (this.queuedBytes < QUEUE_BYTES / 2 || !this.offers)) {
      this.paused = false;
      this.heardAt = this.runtime.now();
      this.stream?.resume();
    }
    return events;
  }

  /** Drops what lies before this shard revision. */
  skip(shardRevision: number): void {
    this.take(shardRevision - 1);
  }

  /** Ends the native watch and opens another one, for when this one seems to be dead. */
  reopen(): void {
    if (this.closed || this.stream === undefined) return;
    this.stream.cancel();
    this.stream = undefined;
    this.openLater();
  }

  close(): void {
    this.closed = true;
    this.stopTimer();
    this.stream?.cancel();
    this.stream = undefined;
  }

  private open(): void {
    this.options.stats.opened++;
    this.heardAt = this.runtime.now();
    this.openedAt = this.heardAt;
    this.forgetIncomplete();
    const stream = this.options.shard.stream(Watch.Watch, {
      message: (message) => {
        if (this.stream === stream) this.receive(message);
      },
      closed: (error) => {
        if (this.stream !== stream) return;
        this.stream = undefined;
        this.report(withDetail(error));
        this.openLater();
      },
    });
    this.stream = stream;
    // Fragments keep a message near etcd's request limit, where it would else hold up to 1,000 revisions.
    const startRevision = Math.max(1, this.atCompacted || !this.early ? this.reached + 1 : this.reached);
    this.early = true;
    stream.send(
      WatchRequest.encode({
        kind: "create",
        request: { key: NO_KEY, rangeEnd: TO_LAST_KEY, startRevision, prevKv: this.prevKv, fragment: true },
      }),
    );
    if (this.paused) stream.pause();
  }

  private openLater(): void {
    const now = this.runtime.now();
    this.brokenSince ??= now;
    if (now - this.openedAt > STABLE) this.backoff = MIN_BACKOFF;
    const delay = this.backoff * (0.5 + this.runtime.random());
    this.backoff = Math.min(MAX_BACKOFF, this.backoff * 2);
    this.stopTimer();
    this.stopTimer = this.runtime.timer(delay, () => this.open());
  }

  private receive(message: Uint8Array): void {
    this.heardAt = this.runtime.now();
    let response: ReturnType<typeof decodeWatch>;
    try {
      response = decodeWatch(message);
    } catch (reason) {
      this.report(withDetail(reason));
      this.reopen();
      return;
    }
    if (response.canceled) {
      this.refused(response.compactRevision, response.cancelReason);
      return;
    }
    if (response.created) {
      this.brokenSince = undefined;
      if (this.said !== "") this.options.log.info({ shard: this.options.shard.name }, "watching again");
      this.said = "";
      if (this.atCompacted) this.waitForCompacted();
    }
    const { events } = response;
    if (events.length === 0) return;
    this.options.stats.events += events.length;
    for (const event of events) {
      if (!this.follows(event.modRevision)) return;
      this.add(event);
    }
    const last = events[events.length - 1].modRevision;
    this.reach(response.fragment ? last - 1 : last);
    if (this.queuedBytes > QUEUE_BYTES && this.offers && !this.paused) {
      this.paused = true;
      this.stream?.pause();
    }
  }

  /** Events may wait for long: a few of them must not hold on to a large piece of what was read from the socket. */
  private keepable(event: RawEvent): RawEvent {
    const { type, key, modRevision, raw } = event;
    if (raw.length * 2 >= raw.buffer.byteLength) return event;
    const copy = this.slabs.allocate(raw.length);
    copy.set(raw);
    const at = key.byteOffset - raw.byteOffset;
    return { type, key: copy.subarray(at, at + key.length), modRevision, raw: copy };
  }

  /** False when revisions are missing: the watch is opened again, and if they still are then, they are lost. */
  private follows(modRevision: number): boolean {
    const { seen } = this;
    if (modRevision > seen) this.seen = modRevision;
    // Of the compacted revision itself there may be nothing.
    if (modRevision <= seen + (this.atCompacted ? 2 : 1)) return true;
    if (this.gapAfter === this.reached) {
      this.close();
      this.options.lost(modRevision);
    } else {
      this.gapAfter = this.reached;
      this.report(`revision ${seen + 1} is missing`);
      this.reopen();
    }
    return false;
  }

  private add(arrived: RawEvent): void {
    const { modRevision } = arrived;
    // Seen before the watch was opened again, or asked for only to see that it is there.
    if (modRevision <= this.reached || arrived.key[0] === 0) return;
    const event = this.keepable(arrived);
    const bytes = event.raw.length + EVENT_OVERHEAD;
    this.queuedBytes += bytes;
    const last = this.queue[this.queue.length - 1];
    if (last?.shardRevision === modRevision) {
      last.events.push(event);
      last.bytes += bytes;
    } else {
      this.queue.push({ shardRevision: modRevision, events: [event], bytes });
    }
  }

  private reach(shardRevision: number): void {
    if (shardRevision <= this.reached) return;
    this.reached = shardRevision;
    this.backoff = MIN_BACKOFF;
    this.seen = Math.max(this.seen, shardRevision);
    this.atCompacted = false;
    for (let i = this.queue.length - 1; i >= this.taken; i--) {
      if (this.queue[i].shardRevision > shardRevision) continue;
      this.sighted = this.queue[i].shardRevision;
      break;
    }
    this.options.arrived();
  }

  /** Drops the part of a revision whose rest the last watch did not bring: it comes again as a whole. */
  private forgetIncomplete(): void {
    this.seen = this.reached;
    while (this.queue.length > this.taken) {
      const last = this.queue[this.queue.length - 1];
      if (last.shardRevision <= this.reached) break;
      this.queuedBytes -= last.bytes;
      this.queue.pop();
    }
  }

  private refused(compacted: number, reason: string): void {
    if (compacted > this.reached && !(this.options.fromCompacted && compacted === this.reached + 1)) {
      this.close();
      this.options.lost(compacted);
      return;
    }
    if (compacted === this.reached + 1) {
      this.atCompacted = true;
    } else {
      this.report(reason || "the watch was cancelled");
    }
    this.reopen();
  }

  /** The compacted revision may have no events any more: goes on without them when they could have come. */
  private waitForCompacted(): void {
    const { stream } = this;
    this.stopTimer();
    this.stopTimer = this.runtime.timer(COMPACTED_PATIENCE, () => {
      const asked = this.runtime.now();
      this.options.shard.unary(KV.Range, PROBE, { idempotent: true }, (error) => {
        if (this.stream !== stream || !this.atCompacted) return;
        const isPrompt = error === undefined && this.runtime.now() - asked <= PROMPT;
        if (isPrompt) this.reach(this.reached + 1);
        else this.waitForCompacted();
      });
    });
  }

  private report(error: string): void {
    if (error === this.said) return;
    this.said = error;
    this.options.log.warn({ shard: this.options.shard.name, error }, "watch lost, opening it again");
  }
}

interface Entry {
  readonly shardRevision: number;
  readonly events: RawEvent[];
  bytes: number;
}
