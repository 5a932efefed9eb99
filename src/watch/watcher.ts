import { type EncodedEvent, encodeWatchHead } from "../wire/watch.js";
import { FRAME_BYTES, planFrames } from "./frames.js";
import type { TextRange } from "./keys.js";

/** Where a watcher's frames go. */
export interface Outlet {
  /** True when so much is queued for the client that no more events may be sent until it has taken some. */
  readonly blocked: boolean;
  /** Sends a frame with this many events, whose header has this revision. */
  send(parts: readonly Uint8Array[], events: number, revision: number): void;
  /** The response header field for a revision. */
  header(revision: number): Uint8Array;
  /** What the watcher needs next was compacted; it is detached already. */
  compacted(watcher: Watcher, compactRevision: number): void;
}

export interface WatcherOptions {
  readonly id: number;
  readonly range: TextRange;
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
 * `following`: in a replay that has caught up, and gets events as they come.
 */
export type WatcherState = "detached" | "synced" | "lagging" | "replaying" | "following";

/** What kind of events a watcher wants and how: a sum of the following. */
export type Variant = number;
const PREV_KV = 1;
const NO_PUT = 2;
const NO_DELETE = 4;

/** How an event is sent to watchers of a variant; undefined when they do not want it. */
export function partFor(variant: Variant, event: EncodedEvent): Uint8Array | undefined {
  if ((variant & (event.type === 0 ? NO_PUT : NO_DELETE)) !== 0) return undefined;
  return (variant & PREV_KV) === 0 ? event.plain : event.full;
}

/** A response for many watchers: the same bytes for all but the watch id. */
export interface SharedFrame {
  /** Its parts for a watch whose id is 0, which is not written. */
  readonly parts: readonly Uint8Array[];
  /** Its parts for others: each puts the field of its id in the first place, before all that they share. */
  readonly partsWithId: Uint8Array[];
  /** How many events are in it. */
  readonly events: number;
}

/** One client watch: what it wants to see and how far it has seen it. */
export class Watcher {
  state: WatcherState = "detached";
  /** No event below it is shown any more. For a synced watcher that the hub has passed, the hub's place counts. */
  next: number;
  readonly id: number;
  readonly range: TextRange;
  readonly shards: readonly number[];
  readonly variant: Variant;
  /** Events were sent since somebody last set this to false. */
  active = false;
  private readonly compacted: number;
  private readonly fragment: boolean;
  /** The field of the id; none for 0, which is left out. */
  private readonly idField: Uint8Array | undefined;
  /** The events of the next frame, if they are its own. Undefined while there are none. */
  private parts: Uint8Array[] | undefined = undefined;
  /** The revision of each of them. */
  private revisions: number[] = NO_REVISIONS;
  /** Their size. */
  private bytes = 0;

  constructor(
    readonly outlet: Outlet,
    options: WatcherOptions,
  ) {
    const { id, prevKv, noPut, noDelete } = options;
    this.id = id;
    this.range = options.range;
    this.shards = options.shards;
    this.next = options.next;
    this.variant = (prevKv ? PREV_KV : 0) | (noPut ? NO_PUT : 0) | (noDelete ? NO_DELETE : 0);
    this.compacted = prevKv ? (options.compacted ?? 0) : 0;
    this.fragment = options.fragment;
    this.idField = idField(id);
  }

  /** Whether it has yet to come to the newest events: until then etcd tells a watch of no progress. */
  get isBehind(): boolean {
    return this.state !== "synced" && this.state !== "following";
  }

  get wantsPrevKv(): boolean {
    return (this.variant & PREV_KV) !== 0;
  }

  /** Takes an event of its range into the next frame, if it is wanted. True for the first one after a `flush`. */
  offer(revision: number, event: EncodedEvent): boolean {
    if (revision < this.next || this.state === "detached") return false;
    const part = partFor(revision === this.compacted ? this.variant & ~PREV_KV : this.variant, event);
    if (part === undefined) return false;
    this.bytes += part.length;
    if (this.parts === undefined) {
      this.parts = [part];
      this.revisions = [revision];
      return true;
    }
    this.parts.push(part);
    this.revisions.push(revision);
    return false;
  }

  /** Whether a revision from `first` to `last` is one that is sent to this watcher in another way than to others. */
  isCompactedIn(first: number, last: number): boolean {
    return this.compacted >= first && this.compacted <= last;
  }

  /**
   * Sends a frame made for many, with all that it wants from `first`, the first revision with an event, up to `covered`.
   * False when the client is too slow: then `next` is `first`.
   */
  sendShared(frame: SharedFrame, first: number, covered: number): boolean {
    const { outlet, idField } = this;
    if (outlet.blocked) {
      this.next = first;
      return false;
    }
    if (idField === undefined) {
      outlet.send(frame.parts, frame.events, covered);
    } else {
      frame.partsWithId[0] = idField;
      outlet.send(frame.partsWithId, frame.events, covered);
    }
    this.active = true;
    this.pass(covered);
    return true;
  }

  /**
   * Sends what was offered; all revisions up to `covered` have been. False when
   * the client is too slow: then `next` is the first revision that was not sent.
   */
  flush(covered: number): boolean {
    const { parts, revisions, bytes, outlet, idField } = this;
    if (parts !== undefined) {
      this.parts = undefined;
      this.revisions = NO_REVISIONS;
      this.bytes = 0;
      if (this.state === "detached") return true;
      if (bytes > FRAME_BYTES) return this.sendFrames(parts, revisions, covered);
      if (outlet.blocked) {
        this.next = revisions[0];
        return false;
      }
      const header = outlet.header(covered);
      const message = idField === undefined ? [header, ...parts] : [header, idField, ...parts];
      outlet.send(message, parts.length, covered);
      this.active = true;
    }
    this.pass(covered);
    return true;
  }

  /** `flush` for events that take more than one frame. */
  private sendFrames(events: readonly Uint8Array[], revisions: readonly number[], covered: number): boolean {
    const { outlet, fragment: fragments, id } = this;
    const sizes = events.map((event) => event.length);
    for (const { from, to, revision, fragment } of planFrames(revisions, sizes, covered, fragments)) {
      if (this.state === "detached") return true;
      // Between the fragments of one revision there is no place to stop.
      const inside = from > 0 && revisions[from - 1] === revisions[from];
      if (outlet.blocked && !inside) {
        this.next = revisions[from];
        return false;
      }
      const head = encodeWatchHead(outlet.header(revision), id, { fragment });
      outlet.send([head, ...events.slice(from, to)], to - from, revision);
      this.active = true;
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
const NO_REVISIONS: number[] = [];

/** Fields of small ids, which most watches have. */
const idFields: Uint8Array[] = [];
const MAX_KEPT = 1_024;

function idField(id: number): Uint8Array | undefined {
  if (id === 0) return undefined;
  // A copy, which keeps nothing else in memory.
  if (id < 0 || id >= MAX_KEPT) return new Uint8Array(encodeWatchHead(NOTHING, id));
  idFields[id] ??= new Uint8Array(encodeWatchHead(NOTHING, id));
  return idFields[id];
}
