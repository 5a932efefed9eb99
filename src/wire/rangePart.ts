// `!` keeps the hot loop free of checks: a byte beyond the end is undefined, ends a varint, and fails a later check.
import { copyBytes } from "./copyBytes.js";
import * as tags from "./generated/tags.js";
import { patches, patchKeyValue, type ToRevision } from "./patch.js";
import { Reader } from "./reader.js";
import { int64Size, putInt64 } from "./varint.js";

/** Columns of the row of a key: start and end of its KeyValue field, and of the key itself. */
const START = 0;
const END = 1;
const KEY_START = 2;
const KEY_END = 3;
/** Start of what follows the two revisions, which follow the key. 0 for a key in `RangePart.odd`. */
const REST = 4;
/** Bytes by which changes to the previous keys make the merged response longer. */
const GROWTH = 5;
/** Columns of a row. */
const STRIDE = 6;

/** Capacity of a new part, in keys. */
const INITIAL_KEYS = 256;
/** Most parts that are kept for reuse. */
const MAX_SPARE = 16;
/** Largest capacity of a part that is kept for reuse, in keys. */
const MAX_SPARE_KEYS = 2_048;

const { header: HEADER, kvs: KVS, more: MORE, count: COUNT } = tags.RangeResponse;
const {
  key: KEY,
  createRevision: CREATE_REVISION,
  modRevision: MOD_REVISION,
  version: VERSION,
  value: VALUE,
  lease: LEASE,
} = tags.KeyValue;

const NOTHING = new Uint8Array(0);

const spare: RangePart[] = [];

/**
 * A shard's RangeResponse: the positions of its keys, which are in order, and their revisions as clients see them. The fast
 * path is for a KeyValue as etcd encodes it. Any other form goes through `patchKeyValue`, as does a version that changes.
 */
export class RangePart {
  /** Number of keys. */
  keys = 0;
  /** Whether the limit of the shard's Range left keys out. */
  more = false;
  /** Keys of the shard in the range, regardless of limit and bounds. */
  count = 0;
  /** Index of the first key that the merge has not taken. */
  next = 0;
  /** Index of the shard. */
  shard = 0;
  private bytes: Uint8Array = NOTHING;
  /** Has one row more than there are keys. */
  private rows = new Int32Array((INITIAL_KEYS + 1) * STRIDE);
  /** Create and mod revision of each key. */
  private revisions = new Float64Array(2 * INITIAL_KEYS);
  /** Rewritten fields of keys that the fast path does not read, by index of the key. */
  private odd: Map<number, Uint8Array> | undefined;
  /** Position of `varint`. */
  private pos = 0;

  /** Finds the keys in `response` and maps their revisions. Throws INVALID_ARGUMENT when it is not a RangeResponse. */
  static of(response: Uint8Array, map: ToRevision, shard: number): RangePart {
    const part = spare.pop() ?? new RangePart();
    part.read(response, map);
    part.shard = shard;
    return part;
  }

  /** Key `i`. Valid until the part is released. */
  key(i: number): Uint8Array {
    const at = i * STRIDE;
    return this.bytes.subarray(this.rows[at + KEY_START]!, this.rows[at + KEY_END]!);
  }

  /** Length of the shard's response, in bytes. */
  get length(): number {
    return this.bytes.length;
  }

  /** Compares the next key with that of `other`, as sort functions do. Their first `skip` bytes must be equal. */
  compareNext(other: RangePart, skip: number): number {
    const a = this.bytes;
    const b = other.bytes;
    const here = this.next * STRIDE;
    const there = other.next * STRIDE;
    let i = this.rows[here + KEY_START]! + skip;
    let j = other.rows[there + KEY_START]! + skip;
    const lengthA = this.rows[here + KEY_END]! - i;
    const lengthB = other.rows[there + KEY_END]! - j;
    for (const end = i + Math.min(lengthA, lengthB); i < end; i++, j++) {
      if (a[i] !== b[j]) return a[i]! - b[j]!;
    }
    return lengthA - lengthB;
  }

  /** Whether key `i` comes directly after key `i - 1` in the response. */
  follows(i: number): boolean {
    return this.rows[i * STRIDE + START] === this.rows[(i - 1) * STRIDE + END];
  }

  /** Bytes that the keys `from` to `to - 1`, which follow each other, take in the merged response. */
  size(from: number, to: number): number {
    const { rows } = this;
    const first = from * STRIDE;
    const end = to * STRIDE;
    return rows[end - STRIDE + END]! - rows[first + START]! + rows[end + GROWTH]! - rows[first + GROWTH]!;
  }

  /** Writes the keys `from` to `to - 1` to `target` at `at`. Returns the position after them. */
  write(from: number, to: number, target: Uint8Array, at: number): number {
    const { rows } = this;
    let copied = rows[from * STRIDE + START]!;
    let kept = from;
    let next = at;
    for (let i = from; i < to; i++) {
      const row = i * STRIDE;
      const isOdd = rows[row + REST] === 0;
      // A key that keeps its size is copied with the bytes around it, and then its revisions are overwritten.
      if (rows[row + STRIDE + GROWTH] === rows[row + GROWTH] && !isOdd) continue;
      next = this.copy(kept, i, copied, rows[row + START]!, target, next);
      next = isOdd ? this.writeOdd(i, target, next) : this.writeHead(i, target, next);
      copied = isOdd ? rows[row + END]! : rows[row + REST]!;
      kept = i + 1;
    }
    return this.copy(kept, to, copied, rows[(to - 1) * STRIDE + END]!, target, next);
  }

  /** Releases the part, which must not be used afterwards. Returns the shard's response. */
  release(): Uint8Array {
    const { bytes } = this;
    this.bytes = NOTHING;
    this.odd = undefined;
    if (this.revisions.length <= 2 * MAX_SPARE_KEYS && spare.length < MAX_SPARE) spare.push(this);
    return bytes;
  }

  private read(response: Uint8Array, map: ToRevision): void {
    const r = new Reader(response);
    this.bytes = response;
    this.keys = 0;
    this.more = false;
    this.count = 0;
    this.next = 0;
    this.rows[GROWTH] = 0;
    while (r.more()) {
      if (response[r.pos] === KVS) {
        if (2 * this.keys === this.revisions.length) this.grow();
        const end = this.readPlain(r.pos, response.length, map);
        if (end > 0) r.pos = end;
        else this.readOdd(r, map);
        this.keys++;
        continue;
      }
      const tag = r.tag();
      switch (tag) {
        case KVS:
          // A tag in more bytes than it needs.
          if (2 * this.keys === this.revisions.length) this.grow();
          r.pos = r.start;
          this.readOdd(r, map);
          this.keys++;
          break;
        case MORE:
          this.more = r.bool();
          break;
        case COUNT:
          this.count = r.int64();
          break;
        default:
          // The header, and fields of later etcds.
          r.skip(tag, tag === HEADER ? 0 : 4);
      }
    }
  }

  /**
   * Reads the KeyValue field at `start` into the row of the next key. Returns the end of the field, or -1 when it does not
   * have exactly etcd's form.
   */
  private readPlain(start: number, limit: number, map: ToRevision): number {
    const { bytes, rows, revisions, keys } = this;
    this.pos = start + 1;
    const length = this.varint();
    const body = this.pos;
    const end = body + length;
    // A length in more bytes than it needs would have to be rewritten even if it stays the same.
    if (length < 0 || end > limit || bytes[body] !== KEY || body - start - 1 !== int64Size(length)) return -1;
    this.pos = body + 1;
    const keyLength = this.varint();
    const keyStart = this.pos;
    const keyEnd = keyStart + keyLength;
    if (keyLength < 0 || keyEnd >= end || bytes[keyEnd] !== CREATE_REVISION) return -1;
    this.pos = keyEnd + 1;
    const created = this.varint();
    if (created <= 0 || bytes[this.pos] !== MOD_REVISION) return -1;
    this.pos++;
    const modified = this.varint();
    const rest = this.pos;
    if (modified <= 0 || !isRest(bytes, rest, end)) return -1;
    // The version changes too.
    if (map.versionOffset !== undefined && map.versionOffset(created) > 0) return -1;

    const toCreated = map(created);
    // Many keys were written once, and then both revisions are equal.
    const toModified = created === modified ? toCreated : map(modified);
    const growth = 2 + int64Size(toCreated) + int64Size(toModified) - (rest - keyEnd);
    const lengthGrowth = growth === 0 ? 0 : int64Size(length + growth) - (body - start - 1);
    revisions[2 * keys] = toCreated;
    revisions[2 * keys + 1] = toModified;
    const row = keys * STRIDE;
    rows[row + START] = start;
    rows[row + END] = end;
    rows[row + KEY_START] = keyStart;
    rows[row + KEY_END] = keyEnd;
    rows[row + REST] = rest;
    rows[row + STRIDE + GROWTH] = rows[row + GROWTH]! + growth + lengthGrowth;
    return end;
  }

  /** Reads a KeyValue field of any form into the row of the next key. */
  private readOdd(r: Reader, map: ToRevision): void {
    const { rows, keys } = this;
    const start = r.pos;
    r.tag();
    patches.reset();
    patchKeyValue(r, patches, map);
    const size = patches.size(start, r.pos);
    const field = new Uint8Array(size);
    patches.apply(this.bytes, start, r.pos, field, 0);
    this.odd ??= new Map();
    this.odd.set(keys, field);
    const row = keys * STRIDE;
    rows[row + START] = start;
    rows[row + END] = r.pos;
    rows[row + KEY_START] = patches.keyStart;
    rows[row + KEY_END] = patches.keyEnd;
    rows[row + REST] = 0;
    rows[row + STRIDE + GROWTH] = rows[row + GROWTH]! + size - (r.pos - start);
  }

  /** Reads the varint at `pos`. Returns -1 for one of more than eight bytes. */
  private varint(): number {
    const { bytes } = this;
    let pos = this.pos;
    let byte = bytes[pos++]!;
    let value = byte & 0x7f;
    if (byte >= 0x80) {
      byte = bytes[pos++]!;
      value |= (byte & 0x7f) << 7;
      if (byte >= 0x80) {
        byte = bytes[pos++]!;
        value |= (byte & 0x7f) << 14;
        if (byte >= 0x80) {
          byte = bytes[pos++]!;
          value |= (byte & 0x7f) << 21;
          for (let weight = 2 ** 28; byte >= 0x80; weight *= 128) {
            if (weight > 2 ** 49) return -1;
            byte = bytes[pos++]!;
            value += (byte & 0x7f) * weight;
          }
        }
      }
    }
    this.pos = pos;
    return value;
  }

  /** Writes a field in etcd's form whose size changes, up to and including its revisions. */
  private writeHead(key: number, target: Uint8Array, at: number): number {
    const { rows, revisions } = this;
    const row = key * STRIDE;
    this.pos = rows[row + START]! + 1;
    const length = this.varint();
    const body = this.pos;
    const sizes = 2 + int64Size(revisions[2 * key]!) + int64Size(revisions[2 * key + 1]!);
    target[at] = KVS;
    let next = put(target, at + 1, length + sizes - (rows[row + REST]! - rows[row + KEY_END]!));
    next = copyBytes(this.bytes, body, rows[row + KEY_END]!, target, next);
    return this.putRevisions(key, target, next);
  }

  private writeOdd(key: number, target: Uint8Array, at: number): number {
    const field = this.odd!.get(key)!;
    target.set(field, at);
    return at + field.length;
  }

  /** Copies the bytes between `from` and `to`, which contain the keys `first` to `last - 1`. None of these changes its size. */
  private copy(
    first: number,
    last: number,
    from: number,
    to: number,
    target: Uint8Array,
    at: number,
  ): number {
    const { rows } = this;
    const end = copyBytes(this.bytes, from, to, target, at);
    for (let i = first; i < last; i++) this.putRevisions(i, target, at + rows[i * STRIDE + KEY_END]! - from);
    return end;
  }

  private putRevisions(key: number, target: Uint8Array, at: number): number {
    target[at] = CREATE_REVISION;
    const next = put(target, at + 1, this.revisions[2 * key]!);
    target[next] = MOD_REVISION;
    return put(target, next + 1, this.revisions[2 * key + 1]!);
  }

  private grow(): void {
    const rows = new Int32Array(2 * this.rows.length);
    rows.set(this.rows);
    this.rows = rows;
    const revisions = new Float64Array(2 * this.revisions.length);
    revisions.set(this.revisions);
    this.revisions = revisions;
  }
}

/** Whether the bytes between `from` and `end` are version, value and lease, each at most once and in this order. */
function isRest(bytes: Uint8Array, from: number, end: number): boolean {
  let pos = from;
  if (bytes[pos] === VERSION && pos < end) pos = afterVarint(bytes, pos + 1);
  if (bytes[pos] === VALUE && pos < end) {
    let length = 0;
    let weight = 1;
    let byte = 0;
    do {
      byte = bytes[++pos]!;
      length += (byte & 0x7f) * weight;
      weight *= 128;
    } while (byte >= 0x80 && weight < 2 ** 35);
    if (byte >= 0x80) return false;
    pos += 1 + length;
  }
  if (bytes[pos] === LEASE && pos < end) pos = afterVarint(bytes, pos + 1);
  return pos === end;
}

/** Returns the position after a varint; `MAX_SAFE_INTEGER` for one that is too long. */
function afterVarint(bytes: Uint8Array, from: number): number {
  for (let pos = from; pos < from + 10; ) if (bytes[pos++]! < 0x80) return pos;
  return Number.MAX_SAFE_INTEGER;
}

/** `putInt64` for numbers that are not negative and usually small. */
function put(target: Uint8Array, at: number, value: number): number {
  if (value >= 0x1000_0000) return putInt64(target, at, value);
  let next = at;
  let rest = value | 0;
  while (rest >= 128) {
    target[next++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[next] = rest;
  return next + 1;
}
