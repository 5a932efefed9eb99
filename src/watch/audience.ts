// Indices below are in range by construction; `!` keeps the hot loop free of checks.

import type { EncodedEvent } from "../wire/watch.js";
import { FRAME_BYTES } from "./frames.js";
import type { Reach } from "./moves.js";
import { type Outlet, partFor, type SharedFrame, type Variant, type Watcher } from "./watcher.js";

/** A shared frame of at most this size is copied into one piece once, instead of sent in parts to each watcher. */
const COPY_LIMIT_BYTES = 4096;

/** All watchers of one range, and the events to send to them. */
export class Audience {
  readonly members = new Set<Watcher>();
  private revisions: number[] | undefined;
  private events: EncodedEvent[] | undefined;

  constructor(
    /** The shards that the range needs. */
    readonly reach: Reach,
  ) {}

  /** Queues an event. Returns true for the first one after a `flush`. */
  offer(revision: number, event: EncodedEvent): boolean {
    if (this.revisions === undefined || this.events === undefined) {
      this.revisions = [revision];
      this.events = [event];
      return true;
    }
    this.revisions.push(revision);
    this.events.push(event);
    return false;
  }

  /**
   * Sends the events that were offered, which are all up to revision `covered`. Watchers in `apart` are covered up to
   * `apart.covered` instead. Adds watchers whose clients are too slow to `slow`.
   */
  flush(covered: number, slow: Watcher[], apart?: Apart): void {
    const { members, revisions, events } = this;
    if (revisions === undefined || events === undefined) return;
    this.revisions = undefined;
    this.events = undefined;
    const first = revisions[0]!;
    const last = revisions[revisions.length - 1]!;
    // By variant; null if its watchers want none of the events.
    const frames: (SharedFrame | null | undefined)[] = [];
    let bytes = -1;
    for (const watcher of members) {
      if (watcher.next > last) continue;
      const alone = apart?.watchers.has(watcher) === true;
      if (alone && apart.covered === undefined) continue;
      if (bytes < 0) bytes = events.reduce((sum, event) => sum + event.full.length, 0);
      if (alone || bytes > FRAME_BYTES || watcher.next > first || watcher.isCompactedIn(first, last)) {
        for (let i = 0; i < events.length; i++) watcher.offer(revisions[i]!, events[i]!);
        if (!watcher.flush((alone ? apart.covered : undefined) ?? covered)) slow.push(watcher);
        continue;
      }
      const { variant } = watcher;
      let frame = frames[variant];
      if (frame === undefined) {
        frame = sharedFrame(events, variant, watcher.outlet, covered);
        frames[variant] = frame;
      }
      if (frame === null) watcher.pass(covered);
      else if (!watcher.sendShared(frame, first, covered)) slow.push(watcher);
    }
  }
}

/** Watchers that were not offered the same events as others of their ranges. */
export interface Apart {
  readonly watchers: ReadonlySet<Watcher>;
  /** Revision up to which they were offered all events. Undefined if they get nothing from this batch. */
  readonly covered: number | undefined;
}

/** Returns null if watchers of this variant want none of the events. */
function sharedFrame(
  events: readonly EncodedEvent[],
  variant: Variant,
  outlet: Outlet,
  covered: number,
): SharedFrame | null {
  const fields: Uint8Array[] = [];
  for (const event of events) {
    const part = partFor(variant, event);
    if (part !== undefined) fields.push(part);
  }
  if (fields.length === 0) return null;
  const header = outlet.header(covered);
  const size = fields.reduce((sum, field) => sum + field.length, header.length);
  const count = fields.length;
  if (size > COPY_LIMIT_BYTES) {
    return { parts: [header, ...fields], partsWithId: [header, header, ...fields], events: count };
  }
  const whole = Buffer.concat([header, ...fields], size);
  return { parts: [whole], partsWithId: [whole, whole], events: count };
}
