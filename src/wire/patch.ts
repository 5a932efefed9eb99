// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import { copyBytes } from "./copyBytes.js";
import * as tags from "./generated/tags.js";
import { malformed, type Reader } from "./reader.js";
import { int64Size, putInt64 } from "./varint.js";

const {
  key: KEY,
  createRevision: CREATE_REVISION,
  modRevision: MOD_REVISION,
  version: VERSION,
  value: VALUE,
  lease: LEASE,
} = tags.KeyValue;

/** Maps a shard revision to the revision that clients see. Not called for 0, which stays 0. */
export interface ToRevision {
  (shardRevision: number): number;
  /**
   * The number to add to the version of a key that was created at the shard revision `created`. Only for shards with keys
   * whose version falls short, because they were copied there.
   */
  readonly versionOffset?: ((created: number) => number) | undefined;
}

/**
 * Changes to an encoded message: varints with new values, and dropped fields. One pass over the message collects them in
 * order of position. Another pass applies them, and copies every byte once. The length prefix of a nested message is one
 * of these varints, whose value is known at the end of the nested message.
 */
export class Patches {
  /** Number of changes. */
  count = 0;
  /** Bytes by which the message grows. */
  growth = 0;
  /** Position of the key in the KeyValue that was patched last. */
  keyStart = 0;
  keyEnd = 0;
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  /** Bytes of the new varint; 0 for a dropped field. */
  private readonly sizes: number[] = [];
  private readonly values: number[] = [];
  /** For a nested message: `growth` at its beginning. */
  private readonly growths: number[] = [];

  /** Drops all changes. */
  reset(): this {
    this.count = 0;
    this.growth = 0;
    return this;
  }

  /** Replaces the varint between `start` and `end` by `value`. */
  varint(start: number, end: number, value: number): void {
    this.add(start, end, int64Size(value), value);
  }

  /** Drops the bytes between `start` and `end`. */
  drop(start: number, end: number): void {
    this.add(start, end, 0, 0);
  }

  /** Begins a nested message of `length` bytes whose length prefix is between `start` and `end`. Returns an index for `close`. */
  open(start: number, end: number, length: number): number {
    const index = this.count;
    this.growths[index] = this.growth;
    this.add(start, end, end - start, length);
    return index;
  }

  /** Ends the nested message for which `open` returned `index`. */
  close(index: number): void {
    if (this.count === index + 1) {
      // Nothing changed inside.
      this.count = index;
      return;
    }
    const length = this.values[index]! + this.growth - this.growths[index]!;
    const size = int64Size(length);
    this.growth += size - this.sizes[index]!;
    this.values[index] = length;
    this.sizes[index] = size;
  }

  /** Length of the bytes between `from` and `to` with all changes applied. */
  size(from: number, to: number): number {
    return to - from + this.growth;
  }

  /** Writes the bytes between `from` and `to` of `source` to `target` at `at`, with all changes applied. */
  apply(source: Uint8Array, from: number, to: number, target: Uint8Array, at: number): void {
    this.applySome(0, this.count, source, from, to, target, at);
  }

  /** `apply` for a part of the message with the changes `first` to `last - 1`. Returns the position after it in `target`. */
  private applySome(
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
      // A varint that keeps its size is copied with the bytes around it, and then overwritten.
      if (sizes[i] === ends[i]! - starts[i]!) continue;
      next = this.copy(kept, i, source, copied, starts[i]!, target, next);
      if (sizes[i]! > 0) next = putInt64(target, next, values[i]!);
      copied = ends[i]!;
      kept = i + 1;
    }
    return this.copy(kept, last, source, copied, to, target, next);
  }

  /** `applySome` for changes that all keep their sizes. */
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
    const end = copyBytes(source, from, to, target, at);
    for (let i = first; i < last; i++) putInt64(target, at + starts[i]! - from, values[i]!);
    return end;
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

/** The patches of this thread. One set is enough, because collecting and applying are synchronous. */
export const patches = new Patches();

/**
 * Maps the create and mod revisions of a KeyValue field, and its version. `r` is after its tag. Throws INVALID_ARGUMENT
 * when the version has to be mapped but comes before the create revision, which no etcd does.
 */
export function patchKeyValue(r: Reader, p: Patches, map: ToRevision): void {
  const start = r.pos;
  const outer = r.enter();
  const nested = p.open(start, r.pos, r.limit - r.pos);
  p.keyStart = p.keyEnd = 0;
  // Many keys were written once, and then both revisions are equal.
  let known = 0;
  let mapped = 0;
  const { versionOffset } = map;
  let created = 0;
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case CREATE_REVISION:
      case MOD_REVISION: {
        const from = r.pos;
        const revision = r.int64();
        if (revision === 0) break;
        if (tag === CREATE_REVISION) created = revision;
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
      case VERSION: {
        const from = r.pos;
        const version = r.int64();
        if (versionOffset === undefined || version === 0) break;
        if (created === 0) throw malformed("a key's version comes before its create revision");
        const offset = versionOffset(created);
        if (offset > 0) p.varint(from, r.pos, version + offset);
        break;
      }
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
