// Indices below are in range by construction; `!` keeps the hot loop free of checks.

import { type EncodedEvent, encodeWatchHead } from "../wire/watch.js";
import { FRAME_BYTES, planFrames } from "./frames.js";
import type { TextRange } from "./keys.js";
import { Reach } from "./moves.js";

/** The client's stream, which takes watchers' frames. */
export interface Outlet {
  /** True while so much is queued for the client that no more events may be sent. */
  readonly blocked: boolean;
  /** Sends a frame with this number of events and this header revision. */
  send(parts: readonly Uint8Array[], events: number, revision: number): void;
  /** Returns the encoded header field for a revision. */
  header(revision: number): Uint8Array;
  /** Called when a revision that the watcher needs was compacted. The watcher is already detached. */
  compacted(watcher: Watcher, compactRevision: number): void;
}

export interface WatcherOptions {
  readonly id: number;
  readonly range: TextRange;
  /** First revision to send, at least 1. */
  readonly next: number;
  readonly prevKv: boolean;
  /**
   * The compacted revision when the watch was created. Events of this revision come without previous keys even if the
   * history has them, as on etcd, which reads them from the revision before.
   */
  readonly compacted?: number;
  readonly fragment: boolean;
  /** Filter: leave out events that put a key. */
  readonly noPut: boolean;
  /** Filter: leave out events that delete a key. */
  readonly noDelete: boolean;
}

/**
 * `detached`: not attached to the hub. `synced`: gets events as they arrive. `lagging`: behind, and reads the history while
 * its client takes frames. `replaying`: older than the history, and waits for a replay or is in one. `following`: in a
 * replay that has caught up, and gets events as they arrive.
 */
export type WatcherState = "detached" | "synced" | "lagging" | "replaying" | "following";

/** Which events a watcher wants, and in which form: a sum of the following flags. */
export type Variant = number;
const PREV_KV = 1;
const NO_PUT = 2;
const NO_DELETE = 4;

/** Returns the event as encoded for watchers of a variant; undefined if they do not want it. */
export function partFor(variant: Variant, event: EncodedEvent): Uint8Array | undefined {
  if ((variant & (event.type === 0 ? NO_PUT : NO_DELETE)) !== 0) return undefined;
  return (variant & PREV_KV) === 0 ? event.plain : event.full;
}

/** A response for many watchers. Only the watch id differs. */
export interface SharedFrame {
  /** Parts for the watch with id 0, which is not encoded. */
  readonly parts: readonly Uint8Array[];
  /** Parts for other watches. Each replaces the first part with the field of its id before it sends them. */
  readonly partsWithId: Uint8Array[];
  /** Number of events in it. */
  readonly events: number;
}

/** One client watch: which events it wants, and how far it has got. */
export class Watcher {
  state: WatcherState = "detached";
  /** No event below this revision is sent. For a synced watcher the hub's position counts if it is higher. */
  next: number;
  /** Of a synced watcher: the newest position that the hub has told. A range that needs more shards later must not fall below. */
  told = 0;
  readonly id: number;
  readonly range: TextRange;
  /** The shards that the range needs. */
  readonly reach: Reach;
  readonly variant: Variant;
  /** Set to true when events are sent. Callers reset it. */
  active = false;
  private readonly compacted: number;
  private readonly fragment: boolean;
  /** The encoded id. Undefined for 0, which is not encoded. */
  private readonly idField: Uint8Array | undefined;
  /** Events of the next frame, unless it is shared. Undefined while there are none. */
  private parts: Uint8Array[] | undefined = undefined;
  /** The revision of each event in `parts`. */
  private revisions: number[] = NO_REVISIONS;
  /** Total size of `parts`. */
  private bytes = 0;

  constructor(
    readonly outlet: Outlet,
    options: WatcherOptions,
  ) {
    const { id, prevKv, noPut, noDelete } = options;
    this.id = id;
    this.range = options.range;
    this.reach = new Reach(options.range);
    this.next = options.next;
    this.variant = (prevKv ? PREV_KV : 0) | (noPut ? NO_PUT : 0) | (noDelete ? NO_DELETE : 0);
    this.compacted = prevKv ? (options.compacted ?? 0) : 0;
    this.fragment = options.fragment;
    this.idField = idField(id);
  }

  /** True until it has reached the newest events. Until then etcd sends a watch no progress notifications. */
  get isBehind(): boolean {
    return this.state !== "synced" && this.state !== "following";
  }

  get wantsPrevKv(): boolean {
    return (this.variant & PREV_KV) !== 0;
  }

  /** Adds an event of its range to the next frame, if it wants it. Returns true for the first one after a `flush`. */
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

  /** True if `compacted` is within `first` to `last`. This watcher's frame then differs from that of others. */
  isCompactedIn(first: number, last: number): boolean {
    return this.compacted >= first && this.compacted <= last;
  }

  /**
   * Sends a shared frame with all events that it wants from revision `first`, the first with an event, up to `covered`.
   * Returns false if the client is too slow. `next` is `first` then.
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
   * Sends the events that were offered, which are all up to revision `covered`. Returns false if the client is too slow.
   * `next` is the first revision that was not sent then.
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
        this.next = revisions[0]!;
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
      // A watch cannot stop between the fragments of one revision.
      const inside = from > 0 && revisions[from - 1] === revisions[from];
      if (outlet.blocked && !inside) {
        this.next = revisions[from]!;
        return false;
      }
      const head = encodeWatchHead(outlet.header(revision), id, { fragment });
      outlet.send([head, ...events.slice(from, to)], to - from, revision);
      this.active = true;
    }
    this.pass(covered);
    return true;
  }

  /** Records that it has got all events up to revision `covered`. */
  pass(covered: number): void {
    if (covered >= this.next) this.next = covered + 1;
  }
}

const NOTHING = new Uint8Array(0);
const NO_REVISIONS: number[] = [];

/** Encoded ids from 0 up to, but without, `MAX_CACHED_ID`. Most watches have such ids. */
const idFields: Uint8Array[] = [];
const MAX_CACHED_ID = 1_024;

function idField(id: number): Uint8Array | undefined {
  if (id === 0) return undefined;
  // A copy, so that it does not keep a larger buffer alive.
  if (id < 0 || id >= MAX_CACHED_ID) return new Uint8Array(encodeWatchHead(NOTHING, id));
  idFields[id] ??= new Uint8Array(encodeWatchHead(NOTHING, id));
  return idFields[id];
}
