import type { EncodedEvent } from "../wire/watch.js";
import { FRAME_BYTES } from "./frames.js";
import { type Outlet, partFor, type SharedFrame, type Variant, type Watcher } from "./watcher.js";

/** Pieces that are together shorter than this are better put together once, for all, bytes. */
const COPY_LIMIT = 4096;

/** All watchers of one range, and what there is for them to be sent. */
export class Audience {
  readonly members = new Set<Watcher>();
  private revisions: number[] | undefined;
  private events: EncodedEvent[] | undefined;

  constructor(
    /** Shards that can hold a key of the range. */
    readonly shards: readonly number[],
  ) {}

  /** Takes an event; true for the first one after a `flush`. */
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
   * Sends what was offered; all revisions up to `covered` have been. Those in `apart` are not served as all others are,
   * but as `apart.covered` says. Adds the watchers whose clients are too slow to `slow`.
   */
  flush(covered: number, slow: Watcher[], apart?: Apart): void {
    const { members, revisions, events } = this;
    if (revisions === undefined || events === undefined) return;
    this.revisions = undefined;
    this.events = undefined;
    const first = revisions[0];
    const last = revisions[revisions.length - 1];
    // By variant; null where nothing is wanted.
    const frames: (SharedFrame | null | undefined)[] = [];
    let bytes = -1;
    for (const watcher of members) {
      if (watcher.next > last) continue;
      const alone = apart?.watchers.has(watcher) === true;
      if (alone && apart.covered === undefined) continue;
      if (bytes < 0) bytes = events.reduce((sum, event) => sum + event.full.length, 0);
      if (alone || bytes > FRAME_BYTES || watcher.next > first || watcher.isCompactedIn(first, last)) {
        for (let i = 0; i < events.length; i++) watcher.offer(revisions[i], events[i]);
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

/** Watchers that have not been offered what others of their ranges have. */
export interface Apart {
  readonly watchers: ReadonlySet<Watcher>;
  /** Up to where they have been; undefined: they get nothing of this batch. */
  readonly covered: number | undefined;
}

/** Null when none of the events is wanted. */
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
  if (size > COPY_LIMIT) {
    return { parts: [header, ...fields], partsWithId: [header, header, ...fields], events: count };
  }
  const whole = Buffer.concat([header, ...fields], size);
  return { parts: [whole], partsWithId: [whole, whole], events: count };
}
