// Indices below are in range by construction; `!` keeps the hot loop free of checks.

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
  /** First shard revision to deliver, at least 1. */
  readonly from: number;
  /**
   * True if the feed may begin exactly at the shard's compacted revision, as a native watch may. etcd before 3.5.18 has no
   * event for a key deleted at that revision. The feed then continues without it.
   */
  readonly fromCompacted: boolean;
  /** True if events come with their previous keys. This costs etcd an extra read for each key, see `bringPrevKv`. */
  readonly prevKv: boolean;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly runtime: Runtime;
  readonly stats: UpstreamStats;
  /** Called when `reached` has risen. */
  arrived(): void;
  /**
   * Called when the feed has ended because it needs events from before `compacted`, where the shard was compacted or which
   * it lost for another reason. Called at most once, never from within the constructor.
   */
  lost(compacted: number): void;
}

/**
 * Bytes of events that may wait to be taken. Above this the feed pauses its shard until half of them are gone. An
 * incomplete revision cannot be taken, so the rest of it is read whatever its size.
 */
const QUEUE_BYTES = 16 << 20;
/** Memory that an event takes beyond its bytes, estimated. */
const EVENT_OVERHEAD_BYTES = 200;
const MIN_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 2_000;
/** After a watch that lived this long, the back-off starts over. */
const STABLE_MS = 2 * MAX_BACKOFF_MS;
/** How long to wait for the events of the compacted revision. etcd sends them within 100 ms. */
const COMPACTED_WAIT_MS = 1_000;
/** An etcd that takes longer than this for a response may also be late with those events. */
const PROMPT_MS = 500;
const NOTHING: readonly RawEvent[] = [];

/**
 * All events of one shard from a shard revision on, complete and in order, over one native watch of the whole keyspace.
 *
 * Every shard revision has at least one event. A revision ends where the next one begins, or with a frame that is not a
 * fragment. So nothing at or below `reached` is missing, and gaps are noticed.
 *
 * A watch that ends is reopened one revision before the first one that is missing. Then a shard that was compacted beyond
 * that reports it, and the feed does not wait for events of the compacted revision, which may be gone. The first watch
 * starts one revision early only if it may begin at the compacted revision: etcd takes up to 100 ms to serve a watch that
 * begins in the past, and no time for one that begins with the next write. If its first event is gone, the next one shows
 * the gap.
 */
export class Feed {
  /** All events at or below this shard revision are in the queue or were taken. */
  reached: number;
  /** Newest complete shard revision in which a client's key changed. At most `reached`. */
  sighted = 0;
  /** Newest shard revision of which this watch has brought at least one event. */
  private seen: number;
  /** `reached` when the last gap was found; -1 before. */
  private gapAfter = -1;
  private queue: Entry[] = [];
  /** Entries of `queue` before this index were taken. */
  private taken = 0;
  private queuedBytes = 0;
  private readonly slabs = new Slabs();
  private prevKv: boolean;
  /** Events at or below this shard revision came without previous keys. */
  private plainUpTo = 0;
  private stream: ShardStream | undefined;
  private paused = false;
  private closed = false;
  private backoff = MIN_BACKOFF_MS;
  private openedAt = 0;
  private stopTimer = () => {};
  /** True if the next watch begins at the compacted revision itself. */
  private atCompacted = false;
  /** True if the next watch begins one revision early. */
  private early: boolean;
  private readonly runtime: Runtime;
  /** When the shard last sent something, `Runtime.now()`. */
  private heardAt: number;
  /** Since when the feed has no watch on the shard, `Runtime.now()`. */
  private brokenSince: number | undefined;
  /** The error that was last logged; empty once the watch is back. */
  private reported = "";

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

  /** Milliseconds since the shard last sent something; 0 while the feed is paused. */
  get silence(): number {
    return this.paused ? 0 : this.runtime.now() - this.heardAt;
  }

  /** Milliseconds since the feed lost its watch: the shard is unreachable, or has no leader. 0 while it has one. */
  get broken(): number {
    return this.brokenSince === undefined ? 0 : this.runtime.now() - this.brokenSince;
  }

  /** True if a complete revision waits to be taken. */
  private get hasComplete(): boolean {
    return this.taken < this.queue.length && this.queue[this.taken]!.shardRevision <= this.reached;
  }

  /** True if some events that wait to be taken came without previous keys, before `bringPrevKv(true)`. */
  get lacksPrevKv(): boolean {
    return this.taken < this.queue.length && this.queue[this.taken]!.shardRevision <= this.plainUpTo;
  }

  /**
   * Turns previous keys of events on or off from now on, by a new native watch. They are expensive: an etcd whose watch wants
   * all previous keys handles less than half of the writes (16 x 16 requests, etcd 3.4).
   */
  bringPrevKv(wanted: boolean): void {
    if (this.prevKv === wanted) return;
    this.prevKv = wanted;
    if (wanted) this.plainUpTo = this.reached;
    if (this.stream === undefined) return;
    this.stream.cancel();
    // As after any other loss, the shard counts as out from now on if the new watch cannot be opened.
    this.brokenSince ??= this.runtime.now();
    this.open();
  }

  /** Returns the events of a shard revision, at most `reached`, as `take` would. */
  peek(shardRevision: number): readonly RawEvent[] {
    for (let i = this.taken; i < this.queue.length; i++) {
      const entry = this.queue[i]!;
      if (entry.shardRevision === shardRevision) return entry.events;
      if (entry.shardRevision > shardRevision) break;
    }
    return NOTHING;
  }

  /** Removes and returns the events of a shard revision, at most `reached`, without reserved keys. Calls must ascend. */
  take(shardRevision: number): readonly RawEvent[] {
    let events = NOTHING;
    while (this.taken < this.queue.length) {
      const entry = this.queue[this.taken]!;
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
    if (this.paused && (this.queuedBytes < QUEUE_BYTES / 2 || !this.hasComplete)) {
      this.paused = false;
      this.heardAt = this.runtime.now();
      this.stream?.resume();
    }
    return events;
  }

  /** Drops the events before this shard revision. */
  skip(shardRevision: number): void {
    this.take(shardRevision - 1);
  }

  /** Replaces the native watch, for when it seems to be dead. */
  reopen(): void {
    if (this.closed || this.stream === undefined) return;
    this.stream.cancel();
    this.stream = undefined;
    this.openLater();
  }

  /** Ends the feed. `lost` and `arrived` are not called after this. */
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
    // With fragments, messages stay near etcd's request limit. Without, one can hold up to 1,000 revisions.
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
    if (now - this.openedAt > STABLE_MS) this.backoff = MIN_BACKOFF_MS;
    const delay = this.backoff * (0.5 + this.runtime.random());
    this.backoff = Math.min(MAX_BACKOFF_MS, this.backoff * 2);
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
      if (this.reported !== "") this.options.log.info({ shard: this.options.shard.name }, "watching again");
      this.reported = "";
      if (this.atCompacted) this.waitForCompacted();
    }
    const { events } = response;
    if (events.length === 0) return;
    this.options.stats.events += events.length;
    for (const event of events) {
      if (!this.follows(event.modRevision)) return;
      this.add(event);
    }
    const last = events[events.length - 1]!.modRevision;
    this.reach(response.fragment ? last - 1 : last);
    if (this.queuedBytes > QUEUE_BYTES && this.hasComplete && !this.paused) {
      this.paused = true;
      this.stream?.pause();
    }
  }

  /** Copies an event out of a much larger buffer. Events may wait for long, and a few must not keep a large buffer alive. */
  private keepable(event: RawEvent): RawEvent {
    const { type, key, modRevision, raw } = event;
    if (raw.length * 2 >= raw.buffer.byteLength) return event;
    const copy = this.slabs.allocate(raw.length);
    copy.set(raw);
    const at = key.byteOffset - raw.byteOffset;
    return { type, key: copy.subarray(at, at + key.length), modRevision, raw: copy };
  }

  /** Returns false if revisions are missing. Reopens the watch the first time; if they are still missing, they are lost. */
  private follows(modRevision: number): boolean {
    const { seen } = this;
    if (modRevision > seen) this.seen = modRevision;
    // The compacted revision itself may have no events.
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
    // Skips what was seen before the watch was reopened, and reserved keys.
    if (modRevision <= this.reached || arrived.key[0] === 0) return;
    const event = this.keepable(arrived);
    const bytes = event.raw.length + EVENT_OVERHEAD_BYTES;
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
    this.backoff = MIN_BACKOFF_MS;
    this.seen = Math.max(this.seen, shardRevision);
    this.atCompacted = false;
    for (let i = this.queue.length - 1; i >= this.taken; i--) {
      const entry = this.queue[i]!;
      if (entry.shardRevision > shardRevision) continue;
      this.sighted = entry.shardRevision;
      break;
    }
    this.options.arrived();
  }

  /** Drops an incomplete revision. The next watch brings all of it. */
  private forgetIncomplete(): void {
    this.seen = this.reached;
    while (this.queue.length > this.taken) {
      const last = this.queue[this.queue.length - 1]!;
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

  /** Waits for events of the compacted revision. Continues without them once etcd has had time to send them. */
  private waitForCompacted(): void {
    const { stream } = this;
    this.stopTimer();
    this.stopTimer = this.runtime.timer(COMPACTED_WAIT_MS, () => {
      const asked = this.runtime.now();
      this.options.shard.unary(KV.Range, PROBE, { idempotent: true }, (error) => {
        if (this.stream !== stream || !this.atCompacted) return;
        const isPrompt = error === undefined && this.runtime.now() - asked <= PROMPT_MS;
        if (isPrompt) this.reach(this.reached + 1);
        else this.waitForCompacted();
      });
    });
  }

  private report(error: string): void {
    if (error === this.reported) return;
    this.reported = error;
    this.options.log.warn({ shard: this.options.shard.name, error }, "watch lost, opening it again");
  }
}

interface Entry {
  readonly shardRevision: number;
  readonly events: RawEvent[];
  bytes: number;
}
