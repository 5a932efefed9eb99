import { type EncodedEvent, encodeWatchHead } from "../wire/watch.js";
import { planFrames } from "./frames.js";
import type { KeyRange } from "./keys.js";

/** Where a watcher's frames go. */
export interface Outlet {
  /** True when so much is queued for the client that no more events may be sent until it has taken some. */
  readonly blocked: boolean;
  send(parts: readonly Uint8Array[]): void;
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
  /** When a frame was sent last, `performance.now()`. */
  sentAt = performance.now();
  private parts: Uint8Array[] = [];
  private revisions: number[] = [];

  constructor(
    readonly outlet: Outlet,
    private readonly options: WatcherOptions,
  ) {
    this.id = options.id;
    this.range = options.range;
    this.shards = options.shards;
    this.next = options.next;
  }

  /** Takes an event of its range into the next frame, if it is wanted. True for the first one after a `flush`. */
  offer(revision: number, event: EncodedEvent): boolean {
    const { prevKv, noPut, noDelete } = this.options;
    if (revision < this.next || this.state === "detached") return false;
    if (event.type === 0 ? noPut : noDelete) return false;
    this.revisions.push(revision);
    return this.parts.push(prevKv ? event.full : event.plain) === 1;
  }

  /**
   * Sends what was offered; all revisions up to `covered` have been. False when the client is too slow: then `next`
   * is the first revision that was not sent.
   */
  flush(covered: number): boolean {
    const { parts, revisions } = this;
    if (parts.length > 0) {
      this.parts = [];
      this.revisions = [];
      const sizes = parts.map((part) => part.length);
      for (const { from, to, revision, fragment } of planFrames(
        revisions,
        sizes,
        covered,
        this.options.fragment,
      )) {
        if (this.state === "detached") return true;
        // Between the fragments of one revision there is no place to stop.
        const inside = from > 0 && revisions[from - 1] === revisions[from];
        if (this.outlet.blocked && !inside) {
          this.next = revisions[from];
          return false;
        }
        const head = headOf(this.outlet.header(revision), this.id, fragment);
        this.outlet.send(to - from === parts.length ? [head, ...parts] : [head, ...parts.slice(from, to)]);
        this.sentAt = performance.now();
      }
    }
    this.pass(covered);
    return true;
  }

  /** It has been shown all that it wants up to `covered`. */
  pass(covered: number): void {
    if (covered >= this.next) this.next = covered + 1;
  }
}

let lastHeader: Uint8Array | undefined;
let lastId = 0;
let lastHead: Uint8Array = new Uint8Array(0);

/** Most clients have one watch on a stream, so that an event's frames begin alike for all of them. */
function headOf(header: Uint8Array, id: number, fragment: boolean): Uint8Array {
  if (fragment) return encodeWatchHead(header, id, { fragment });
  if (header !== lastHeader || id !== lastId) {
    lastHead = encodeWatchHead(header, id);
    lastHeader = header;
    lastId = id;
  }
  return lastHead;
}
