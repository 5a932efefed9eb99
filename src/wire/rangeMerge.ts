// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import * as tags from "./generated/tags.js";
import type { RangePart } from "./rangePart.js";
import { int64Size, putInt64 } from "./varint.js";

const { more: MORE, count: COUNT } = tags.RangeResponse;

/*
 * Merges the RangeResponses of several shards in key order, as bytes. Keys are compared in place. Each KeyValue is copied
 * once, into the merged response, and its revisions are mapped on the way.
 */

/** Most bytes after the keys of a response. */
const MAX_TAIL_BYTES = 16;
/** By how much the memory of a response grows where it turns out to be too small. */
const GROWTH = 1.5;

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
  /** Parts that are in use. */
  private all: RangePart[] = [];
  /** The keys taken, as runs. A run is a part, its first key, and the end after its last key. */
  private runParts: RangePart[] = [];
  private runFrom: number[] = [];
  private runTo: number[] = [];
  /** The beginning of the merged response, from `begin`. Keys are written before all are known. */
  private response: Uint8Array | undefined;
  private written = 0;
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

  /** Begins a response of about `size` bytes with the header field `header`. `write` may follow. */
  begin(header: Uint8Array, size: number): void {
    this.response = Buffer.allocUnsafeSlow(size);
    this.response.set(header);
    this.written = header.length;
  }

  /** Writes the keys taken so far, and releases their parts. So a long response needs no long turn of the event loop at its end. */
  write(memory: Memory): void {
    const size = this.sizeOfRuns();
    const length = this.written + size + MAX_TAIL_BYTES;
    if (length > this.response!.length) {
      const longer = Buffer.allocUnsafeSlow(Math.ceil(length * GROWTH));
      longer.set(this.response!.subarray(0, this.written));
      this.response = longer;
    }
    this.written = this.writeRuns(this.response!, this.written);
    const kept: RangePart[] = [];
    for (const part of this.all) {
      if (part.more || part.next < part.keys) kept.push(part);
      else memory.release(part.release());
    }
    this.all = kept;
  }

  /** Returns the response that `begin` began, and releases all parts. Ends the merge. */
  end(memory: Memory): Uint8Array {
    this.write(memory);
    const end = this.writeTail(this.response!, this.written);
    this.releaseAll(memory);
    return this.response!.subarray(0, end);
  }

  /** Returns the merged RangeResponse with the header field `header`, and releases the parts. Ends the merge. */
  finish(header: Uint8Array, memory: Memory): Uint8Array {
    const { count } = this;
    const size = (this.more ? 2 : 0) + (count > 0 ? 1 + int64Size(count) : 0);
    const response = memory.allocate(header.length + this.sizeOfRuns() + size);
    response.set(header);
    this.writeTail(response, this.writeRuns(response, header.length));
    this.releaseAll(memory);
    return response;
  }

  private get more(): boolean {
    return this.all.some((part) => part.more || part.next < part.keys);
  }

  private sizeOfRuns(): number {
    const { runParts, runFrom, runTo } = this;
    let size = 0;
    for (let i = 0; i < runParts.length; i++) size += runParts[i]!.size(runFrom[i]!, runTo[i]!);
    return size;
  }

  /** Writes the runs to `response` at `from`. Returns the position after them. */
  private writeRuns(response: Uint8Array, from: number): number {
    const { runParts, runFrom, runTo } = this;
    let at = from;
    for (let i = 0; i < runParts.length; i++) at = runParts[i]!.write(runFrom[i]!, runTo[i]!, response, at);
    this.runParts = [];
    this.runFrom = [];
    this.runTo = [];
    return at;
  }

  /** Writes what comes after the keys to `response` at `from`. Returns the position after it. */
  private writeTail(response: Uint8Array, from: number): number {
    let at = from;
    if (this.more) {
      response[at++] = MORE;
      response[at++] = 1;
    }
    if (this.count > 0) {
      response[at++] = COUNT;
      at = putInt64(response, at, this.count);
    }
    return at;
  }

  private releaseAll(memory: Memory): void {
    for (const part of this.all) memory.release(part.release());
    this.all = [];
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
