import { type EncodedEvent, encodeWatchHead } from "../wire/watch.js";
import { FRAME_BYTES, planFrames } from "./frames.js";
import type { KeyRange } from "./keys.js";

/** Where a watcher's frames go. */
export interface Outlet {
  /** True when so much is queued for the client that no more events may be sent until it has taken some. */
  readonly blocked: boolean;
  /** `events`: how many are in it. */
  send(parts: readonly Uint8Array[], events: number): void;
  /** The response header field for a revision. */
  header(revision: number): Uint8Array;
  /** What the watcher needs next was compacted; it is detached already. */
  compacted(watcher: Watcher, compactRevision: number): void;
}

export interface WatcherOptions {
  readonly id: number;
  readonly range: KeyRange;
  /** Shards that can hold a key of the range. */
  readonly shards: readonly number[];
  /** First revision that it is to be shown, at least 1. */
  readonly next: number;
  readonly prevKv: boolean;
  /**
   * The compacted revision when the watch was created. As on etcd, which reads what was before a start in the past,
   * the events of this revision come without their previous keys, also where the history still has them.
   */
  readonly compacted?: number;
  readonly fragment: boolean;
  /** Filters: leave out events that put a key, or that delete one. */
  readonly noPut: boolean;
  readonly noDelete: boolean;
}

/**
 * `detached`: not (or no longer) with the hub. `synced`: gets events as they come. `lagging`: behind, reads the
 * history when its client takes what is queued. `replaying`: older than the history, waits for a replay or is in one.
 */
export type WatcherState = "detached" | "synced" | "lagging" | "replaying";

/** One client watch: what it wants to see and how far it has seen it. */
export class Watcher {
  state: WatcherState = "detached";
  /** No event below it is shown any more. For a synced watcher that the hub has passed, the hub's place counts. */
  next: number;
  readonly id: number;
  readonly range: KeyRange;
  readonly shards: readonly number[];
  /** When events were sent last, `performance.now()`. */
  sentAt = Number.NEGATIVE_INFINITY;
  /** What its frames begin with; the header comes in the first place. */
  private readonly head: readonly Uint8Array[];
  /** The next frame: `head` and the events that were offered. Undefined while there are none. */
  private parts: Uint8Array[] | undefined;
  /** The revision of each offered event. */
  private revisions: number[] = [];
  /** Their size. */
  private bytes = 0;

  constructor(
    readonly outlet: Outlet,
    private readonly options: WatcherOptions,
  ) {
    this.id = options.id;
    this.range = options.range;
    this.shards = options.shards;
    this.next = options.next;
    // The field of the id is the same in all frames, and absent for 0. A copy, which keeps nothing else in memory.
    this.head = this.id === 0 ? [NOTHING] : [NOTHING, new Uint8Array(encodeWatchHead(NOTHING, this.id))];
  }

  /** Takes an event of its range into the next frame, if it is wanted. True for the first one after a `flush`. */
  offer(revision: number, event: EncodedEvent): boolean {
    const { prevKv, compacted, noPut, noDelete } = this.options;
    if (revision < this.next || this.state === "detached") return false;
    if (event.type === 0 ? noPut : noDelete) return false;
    const part = prevKv && revision !== compacted ? event.full : event.plain;
    this.bytes += part.length;
    if (this.parts === undefined) {
      this.parts = [...this.head, part];
      this.revisions = [revision];
      return true;
    }
    this.parts.push(part);
    this.revisions.push(revision);
    return false;
  }

  /**
   * Sends what was offered; all revisions up to `covered` have been. `now` is the time, `performance.now()`. False
   * when the client is too slow: then `next` is the first revision that was not sent.
   */
  flush(covered: number, now: number): boolean {
    const { parts, revisions, bytes, outlet } = this;
    if (parts !== undefined) {
      this.parts = undefined;
      this.bytes = 0;
      if (this.state === "detached") return true;
      if (bytes > FRAME_BYTES) return this.sendFrames(parts.slice(this.head.length), revisions, covered, now);
      if (outlet.blocked) {
        this.next = revisions[0];
        return false;
      }
      parts[0] = outlet.header(covered);
      outlet.send(parts, revisions.length);
      this.sentAt = now;
    }
    this.pass(covered);
    return true;
  }

  /** `flush` for events that take more than one frame. */
  private sendFrames(
    events: readonly Uint8Array[],
    revisions: readonly number[],
    covered: number,
    now: number,
  ): boolean {
    const { outlet, options, id } = this;
    const sizes = events.map((event) => event.length);
    for (const { from, to, revision, fragment } of planFrames(revisions, sizes, covered, options.fragment)) {
      if (this.state === "detached") return true;
      // Between the fragments of one revision there is no place to stop.
      const inside = from > 0 && revisions[from - 1] === revisions[from];
      if (outlet.blocked && !inside) {
        this.next = revisions[from];
        return false;
      }
      const head = encodeWatchHead(outlet.header(revision), id, { fragment });
      outlet.send([head, ...events.slice(from, to)], to - from);
      this.sentAt = now;
    }
    this.pass(covered);
    return true;
  }

  /** It has been shown all that it wants up to `covered`. */
  pass(covered: number): void {
    if (covered >= this.next) this.next = covered + 1;
  }
}

const NOTHING = new Uint8Array(0);
