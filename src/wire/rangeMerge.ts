// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import * as tags from "./generated/tags.js";
import type { RangePart } from "./rangePart.js";
import { int64Size, putInt64 } from "./varint.js";

const { more: MORE, count: COUNT } = tags.RangeResponse;

/*
 * Merges the RangeResponses of several shards in key order, as bytes. Keys are compared in place. Each KeyValue is copied
 * once, into the merged response, and its revisions are mapped on the way.
 */

/** Provides memory for merged responses, and takes that of the shards' responses. */
export interface Memory {
  /** Returns a buffer of `length` bytes with arbitrary content. */
  allocate(length: number): Uint8Array;
  /** Takes the bytes of a shard's response, which the merge no longer reads. */
  release(bytes: Uint8Array): void;
}

/** Merges parts that have no keys in common. All of them are in ascending or all in descending order of keys. */
export class RangeMerge {
  /** Parts with keys left, in order of their next key. */
  private readonly waiting: RangePart[] = [];
  private readonly all: RangePart[] = [];
  /** The keys taken, as runs. A run is a part, its first key, and the end after its last key. */
  private readonly runParts: RangePart[] = [];
  private readonly runFrom: number[] = [];
  private readonly runTo: number[] = [];
  private taken = 0;
  /** `count` of the merged response: all keys in the range, regardless of limit and bounds. */
  count = 0;

  /** `skip`: length of the prefix that all keys have in common, in bytes. */
  constructor(
    private readonly descending: boolean,
    private readonly skip: number,
  ) {}

  /** Adds a shard's response. */
  add(part: RangePart): void {
    this.all.push(part);
    if (part.keys === 0) return;
    this.waiting.unshift(part);
    this.settle(part);
  }

  /**
   * Takes keys until there are `limit` of them or none is left. When a part runs out of keys but its shard has more, stops
   * and returns that part. The caller reads the shard's next keys, calls `add`, and then `take` again.
   */
  take(limit: number): RangePart | undefined {
    const { waiting } = this;
    while (waiting.length > 0 && this.taken < limit) {
      const part = waiting[0]!;
      const from = part.next;
      const to = this.endOfRun(part, limit - this.taken);
      this.runParts.push(part);
      this.runFrom.push(from);
      this.runTo.push(to);
      this.taken += to - from;
      if (to < part.keys) {
        this.settle(part);
        continue;
      }
      waiting.shift();
      if (part.more && this.taken < limit) {
        // The shard's next response shows whether there are more keys.
        part.more = false;
        return part;
      }
    }
    return undefined;
  }

  /** Number of keys taken so far. */
  get keys(): number {
    return this.taken;
  }

  /** Returns the merged RangeResponse with the header field `header`, and releases the parts. Ends the merge. */
  finish(header: Uint8Array, memory: Memory): Uint8Array {
    const { runParts, runFrom, runTo, count } = this;
    const more = this.all.some((part) => part.more || part.next < part.keys);
    let size = header.length + (more ? 2 : 0) + (count > 0 ? 1 + int64Size(count) : 0);
    for (let i = 0; i < runParts.length; i++) size += runParts[i]!.size(runFrom[i]!, runTo[i]!);
    const response = memory.allocate(size);
    response.set(header);
    let at = header.length;
    for (let i = 0; i < runParts.length; i++) {
      at = runParts[i]!.write(runFrom[i]!, runTo[i]!, response, at);
    }
    if (more) {
      response[at++] = MORE;
      response[at++] = 1;
    }
    if (count > 0) {
      response[at++] = COUNT;
      putInt64(response, at, count);
    }
    for (const part of this.all) memory.release(part.release());
    return response;
  }

  /** The end of the first waiting part's run of at most `most` keys that come before those of all other parts. */
  private endOfRun(part: RangePart, most: number): number {
    const other = this.waiting[1];
    const end = Math.min(part.keys, part.next + most);
    do part.next++;
    while (part.next < end && part.follows(part.next) && (other === undefined || this.isBefore(part, other)));
    return part.next;
  }

  /** Moves the first waiting part, whose next key has changed, to its place. */
  private settle(part: RangePart): void {
    const { waiting } = this;
    let place = 1;
    for (; place < waiting.length && !this.isBefore(part, waiting[place]!); place++) {
      waiting[place - 1] = waiting[place]!;
    }
    waiting[place - 1] = part;
  }

  private isBefore(part: RangePart, other: RangePart): boolean {
    const order = part.compareNext(other, this.skip);
    return this.descending ? order > 0 : order < 0;
  }
}
