import * as tags from "./generated/tags.js";
import type { Reader } from "./reader.js";
import { int64Size, putInt64 } from "./varint.js";

const {
  key: KEY,
  createRevision: CREATE_REVISION,
  modRevision: MOD_REVISION,
  version: VERSION,
  value: VALUE,
  lease: LEASE,
} = tags.KeyValue;

/** A shard's revision → the revision that clients see. Never asked for 0, which stays 0. */
export type ToRevision = (shardRevision: number) => number;

/** Byte ranges up to this length are cheaper to copy in a loop than with a view. */
const SHORT = 24;

/**
 * Changes to an encoded message: varints that get another value, fields that are dropped. They are collected
 * in one pass over the message, in order of position, and carried out in another that copies every byte once.
 * The length of a nested message is such a varint, fixed when the message has been passed.
 */
export class Patches {
  /** How many there are. */
  count = 0;
  /** Bytes that the message grows by. */
  growth = 0;
  /** Where the key is in the KeyValue that was patched last. */
  keyStart = 0;
  keyEnd = 0;
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  /** Bytes of the new varint, 0 for nothing at all. */
  private readonly sizes: number[] = [];
  private readonly values: number[] = [];
  /** For a nested message: `growth` when it began. */
  private readonly growths: number[] = [];

  /** Forgets all changes. */
  reset(): this {
    this.count = 0;
    this.growth = 0;
    return this;
  }

  /** Puts `value` in place of the varint between `start` and `end`. */
  varint(start: number, end: number, value: number): void {
    this.add(start, end, int64Size(value), value);
  }

  /** Leaves out what is between `start` and `end`. */
  drop(start: number, end: number): void {
    this.add(start, end, 0, 0);
  }

  /** Begins a nested message of `length` bytes, whose length prefix is between `start` and `end`. */
  open(start: number, end: number, length: number): number {
    const index = this.count;
    this.growths[index] = this.growth;
    this.add(start, end, end - start, length);
    return index;
  }

  /** Ends the nested message that `open` returned `index` for. */
  close(index: number): void {
    if (this.count === index + 1) {
      // Nothing changed inside.
      this.count = index;
      return;
    }
    const length = this.values[index] + this.growth - this.growths[index];
    const size = int64Size(length);
    this.growth += size - this.sizes[index];
    this.values[index] = length;
    this.sizes[index] = size;
  }

  /** Length of what is between `from` and `to`, with all changes. */
  size(from: number, to: number): number {
    return to - from + this.growth;
  }

  /** Writes what is between `from` and `to` of `source`, with all changes, to `target` at `at`. */
  apply(source: Uint8Array, from: number, to: number, target: Uint8Array, at: number): void {
    this.applySome(0, this.count, source, from, to, target, at);
  }

  /**
   * `apply` for a part of the message in which there are the changes from `first` to (without) `last`. Answers the
   * place after it in `target`.
   */
  applySome(
    first: number,
    last: number,
    source: Uint8Array,
    from: number,
    to: number,
    target: Uint8Array,
    at: number,
  ): number {
    const { starts, ends, sizes, values } = this;
    let copied = from;
    let next = at;
    let kept = first;
    for (let i = first; i < last; i++) {
      // What keeps its size is copied with all around it, and then written over.
      if (sizes[i] === ends[i] - starts[i]) continue;
      next = this.copy(kept, i, source, copied, starts[i], target, next);
      if (sizes[i] > 0) next = putInt64(target, next, values[i]);
      copied = ends[i];
      kept = i + 1;
    }
    return this.copy(kept, last, source, copied, to, target, next);
  }

  /** `applySome` where all changes keep their sizes. */
  private copy(
    first: number,
    last: number,
    source: Uint8Array,
    from: number,
    to: number,
    target: Uint8Array,
    at: number,
  ): number {
    const { starts, values } = this;
    if (to - from <= SHORT) for (let i = from, j = at; i < to; i++, j++) target[j] = source[i];
    else target.set(source.subarray(from, to), at);
    for (let i = first; i < last; i++) putInt64(target, at + starts[i] - from, values[i]);
    return at + to - from;
  }

  private add(start: number, end: number, size: number, value: number): void {
    const index = this.count++;
    this.starts[index] = start;
    this.ends[index] = end;
    this.sizes[index] = size;
    this.values[index] = value;
    this.growth += size - (end - start);
  }
}

/** The patches of this thread: collecting and applying them is synchronous, so one set is enough. */
export const patches = new Patches();

/** Maps the create and mod revisions of a KeyValue field whose tag has been read. */
export function patchKeyValue(r: Reader, p: Patches, map: ToRevision): void {
  const start = r.pos;
  const outer = r.enter();
  const nested = p.open(start, r.pos, r.limit - r.pos);
  p.keyStart = p.keyEnd = 0;
  // Many keys have been written once: both revisions are the same.
  let known = 0;
  let mapped = 0;
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case CREATE_REVISION:
      case MOD_REVISION: {
        const from = r.pos;
        const revision = r.int64();
        if (revision === 0) break;
        if (revision !== known) {
          known = revision;
          mapped = map(revision);
        }
        p.varint(from, r.pos, mapped);
        break;
      }
      case KEY: {
        const length = r.length();
        p.keyStart = r.pos;
        r.pos += length;
        p.keyEnd = r.pos;
        break;
      }
      case VALUE:
        r.skipData();
        break;
      case VERSION:
      case LEASE:
        r.int64();
        break;
      default:
        r.skip(tag, 6);
    }
  }
  p.close(nested);
  r.limit = outer;
}
