// Indices below are in range by construction; `!` keeps the hot loop free of checks.

import type { EncodedEvent } from "../wire/watch.js";

/** An event with its key as text (see keys.ts). */
export interface KeyedEvent {
  readonly key: string;
  readonly event: EncodedEvent;
}

/** Memory that an event takes beyond its bytes, estimated. */
const EVENT_OVERHEAD_BYTES = 300;
/** Memory that a revision takes, estimated. */
const REVISION_OVERHEAD_BYTES = 100;

/**
 * The events of the most recent revisions, for watchers that start or fall a little behind. It has no gaps: a revision
 * without visible events has an entry, too. Holds an estimated `maxBytes` at most, and drops the oldest revisions first.
 */
export class History {
  /** By revision. Entries are bare lists, because objects that live this long cost the garbage collector most. */
  private entries: (readonly KeyedEvent[] | undefined)[] = [];
  /** Index of the oldest entry. */
  private oldest = 0;
  private bytes = 0;
  /** Events of revisions below this one lack their previous keys. */
  fullFrom = Number.POSITIVE_INFINITY;

  constructor(
    private readonly maxBytes: number,
    /** The oldest revision here, or the next one to be pushed if the history is empty. */
    public first: number,
  ) {}

  /** Revision of the next push. */
  get end(): number {
    return this.first + this.entries.length - this.oldest;
  }

  /** Returns the first revision that can be read here, with previous keys or without. `Infinity` if there is none. */
  firstFor(prevKv: boolean): number {
    return prevKv ? Math.max(this.first, this.fullFrom) : this.first;
  }

  /** Adds the events of revision `end`. */
  push(events: readonly KeyedEvent[]): void {
    this.entries.push(events);
    this.bytes += sizeOf(events);
    while (this.bytes > this.maxBytes) this.drop();
    if (this.oldest > 1_024 && this.oldest * 2 > this.entries.length) {
      this.entries.splice(0, this.oldest);
      this.oldest = 0;
    }
  }

  /** Returns the events of a revision, `first` <= `revision` < `end`. */
  at(revision: number): readonly KeyedEvent[] {
    return this.entries[this.oldest + revision - this.first]!;
  }

  /** Empties the history. The next push is `revision`. */
  restart(revision: number): void {
    this.entries = [];
    this.oldest = 0;
    this.bytes = 0;
    this.first = revision;
  }

  private drop(): void {
    this.bytes -= sizeOf(this.entries[this.oldest]!);
    this.entries[this.oldest] = undefined;
    this.oldest++;
    this.first++;
  }
}

function sizeOf(events: readonly KeyedEvent[]): number {
  let size = REVISION_OVERHEAD_BYTES;
  for (const { key, event } of events) size += event.bytes + key.length + EVENT_OVERHEAD_BYTES;
  return size;
}
