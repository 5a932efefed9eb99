import * as tags from "./generated/tags.js";
import type { RangePart } from "./rangePart.js";
import { int64Size, putInt64 } from "./varint.js";

const { more: MORE, count: COUNT } = tags.RangeResponse;

/*
 * RangeResponses of several shards put together in key order, as bytes: keys are found and compared where they are,
 * revisions are changed while each KeyValue is copied, once, into the answer.
 */

/** Where the memory of answers comes from, and where that of shards' answers goes. */
export interface Memory {
  /** Room for an answer, of any content. */
  allocate(length: number): Uint8Array;
  /** Nobody will look at these bytes of a shard's answer any more. */
  release(bytes: Uint8Array): void;
}

/**
 * Merges parts, none of which has a key of another. Keys come in ascending order, or in descending order when that is how
 * the parts have them.
 */
export class RangeMerge {
  /** Parts with keys left, by their next key. */
  private readonly waiting: RangePart[] = [];
  private readonly all: RangePart[] = [];
  /** Keys taken, as runs: a part, its first key and the one after the last. */
  private readonly runParts: RangePart[] = [];
  private readonly runFrom: number[] = [];
  private readonly runTo: number[] = [];
  private taken = 0;
  /** Keys in the range, whatever limit and bounds. */
  count = 0;

  /** `skip`: as many bytes as all keys have in common. */
  constructor(
    private readonly descending: boolean,
    private readonly skip: number,
  ) {}

  add(part: RangePart): void {
    this.all.push(part);
    if (part.keys === 0) return;
    this.waiting.unshift(part);
    this.settle(part);
  }

  /**
   * Takes keys until there are `limit` of them or none is left. Stops before, and answers a part, when its shard has to be
   * asked for what follows: `add` it and go on.
   */
  take(limit: number): RangePart | undefined {
    const { waiting } = this;
    while (waiting.length > 0 && this.taken < limit) {
      const part = waiting[0];
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
        // What comes next of this shard tells whether there is more.
        part.more = false;
        return part;
      }
    }
    return undefined;
  }

  /** Keys that were taken so far. */
  get keys(): number {
    return this.taken;
  }

  /** The RangeResponse with the header field `header`, Ends the merge. */
  finish(header: Uint8Array, memory: Memory): Uint8Array {
    const { runParts, runFrom, runTo, count } = this;
    const more = this.all.some((part) => part.more || part.next < part.keys);
    let size = header.length + (more ? 2 : 0) + (count > 0 ? 1 + int64Size(count) : 0);
    for (let i = 0; i < runParts.length; i++) size += runParts[i].size(runFrom[i], runTo[i]);
    const response = memory.allocate(size);
    response.set(header);
    let at = header.length;
    for (let i = 0; i < runParts.length; i++) at = runParts[i].write(runFrom[i], runTo[i], response, at);
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

  /** The end of a run of keys of the first part that waits: they come before all that other parts have. */
  private endOfRun(part: RangePart, most: number): number {
    const other = this.waiting[1];
    const end = Math.min(part.keys, part.next + most);
    do part.next++;
    while (part.next < end && part.follows(part.next) && (other === undefined || this.isBefore(part, other)));
    return part.next;
  }

  /** Moves the first part, whose next key is another one now, to its place. */
  private settle(part: RangePart): void {
    const { waiting } = this;
    let place = 1;
    for (; place < waiting.length && !this.isBefore(part, waiting[place]); place++) {
      waiting[place - 1] = waiting[place];
    }
    waiting[place - 1] = part;
  }

  private isBefore(part: RangePart, other: RangePart): boolean {
    const order = part.compareNext(other, this.skip);
    return this.descending ? order > 0 : order < 0;
  }
}
