import * as tags from "./generated/tags.js";
import { patches, patchKeyValue, type ToRevision } from "./patch.js";
import { Reader } from "./reader.js";
import { int64Size, putInt64 } from "./varint.js";

/** Numbers kept for each key: where its field begins and ends, and the key in it. */
const START = 0;
const END = 1;
const KEY_START = 2;
const KEY_END = 3;
/** What follows its two revisions, which follow the key; 0 for a KeyValue of another form, see `RangePart.odd`. */
const REST = 4;
/** Bytes by which the changes of the keys before it have made the answer longer. */
const GROWTH = 5;
const STRIDE = 6;

/** Keys that a new part has room for. */
const ROOM = 256;
/** Parts that are kept to be used again, and the most keys that such a part may have room for. */
const MAX_SPARE = 16;
const MAX_SPARE_KEYS = 2_048;
/** Byte ranges up to this length are cheaper to copy in a loop than with a view. */
const SHORT = 24;

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
 * A shard's RangeResponse, whose keys are in order: where its keys are, and their revisions as clients see them. All that
 * is done with a key is written for what etcd sends; a KeyValue that is anything else goes by way of `patchKeyValue`.
 */
export class RangePart {
  /** Its keys. */
  keys = 0;
  /** Whether the limit that the shard was given left keys out. */
  more = false;
  /** Keys in the range, whatever limit and bounds. */
  count = 0;
  /** The first key that the merge has not taken yet. */
  next = 0;
  /** The shard. */
  shard = 0;
  private bytes: Uint8Array = NOTHING;
  /** One row more than there are keys. */
  private rows = new Int32Array((ROOM + 1) * STRIDE);
  /** Create and mod revision of each key. */
  private revisions = new Float64Array(2 * ROOM);
  /** Whole fields, by key. */
  private odd: Map<number, Uint8Array> | undefined;
  /** Where `varint` goes on. */
  private pos = 0;

  /**
   * Finds the keys in `response`, whose revisions `map` turns into the clients'. Throws INVALID_ARGUMENT when it is no
   * RangeResponse.
   */
  static of(response: Uint8Array, map: ToRevision, shard: number): RangePart {
    const part = spare.pop() ?? new RangePart();
    part.read(response, map);
    part.shard = shard;
    return part;
  }

  /** The last key. */
  get lastKey(): Uint8Array {
    const at = (this.keys - 1) * STRIDE;
    return this.bytes.subarray(this.rows[at + KEY_START], this.rows[at + KEY_END]);
  }

  /** Less than 0 when the next key of this part comes before the next one of `other`, whose first `skip` bytes are the same. */
  compareNext(other: RangePart, skip: number): number {
    const a = this.bytes;
    const b = other.bytes;
    const here = this.next * STRIDE;
    const there = other.next * STRIDE;
    let i = this.rows[here + KEY_START] + skip;
    let j = other.rows[there + KEY_START] + skip;
    const lengthA = this.rows[here + KEY_END] - i;
    const lengthB = other.rows[there + KEY_END] - j;
    for (const end = i + Math.min(lengthA, lengthB); i < end; i++, j++) {
      if (a[i] !== b[j]) return a[i] - b[j];
    }
    return lengthA - lengthB;
  }

  /** Whether key `i` follows key `i - 1` in the response with nothing in between. */
  follows(i: number): boolean {
    return this.rows[i * STRIDE + START] === this.rows[(i - 1) * STRIDE + END];
  }

  /** Bytes of the keys from `from` to (without) `to`, which follow each other, in the answer. */
  size(from: number, to: number): number {
    const { rows } = this;
    const first = from * STRIDE;
    const end = to * STRIDE;
    return rows[end - STRIDE + END] - rows[first + START] + rows[end + GROWTH] - rows[first + GROWTH];
  }

  /** Writes them to `target` at `at`; answers the place after them. */
  write(from: number, to: number, target: Uint8Array, at: number): number {
    const { rows } = this;
    let copied = rows[from * STRIDE + START];
    let kept = from;
    let next = at;
    for (let i = from; i < to; i++) {
      const row = i * STRIDE;
      const isOdd = rows[row + REST] === 0;
      // What keeps its size is copied with all around it, and then written over.
      if (rows[row + STRIDE + GROWTH] === rows[row + GROWTH] && !isOdd) continue;
      next = this.copy(kept, i, copied, rows[row + START], target, next);
      next = isOdd ? this.writeOdd(i, target, next) : this.writeHead(i, target, next);
      copied = isOdd ? rows[row + END] : rows[row + REST];
      kept = i + 1;
    }
    return this.copy(kept, to, copied, rows[(to - 1) * STRIDE + END], target, next);
  }

  /** Gives the part back; nothing may use it afterwards. Answers the response. */
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
          // Its tag is longer than it need be.
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
          // The header, and what a later etcd may add.
          r.skip(tag, tag === HEADER ? 0 : 4);
      }
    }
  }

  /**
   * Reads the KeyValue field at `start` into the row of the next key: answers where it ends, or -1 when it has not exactly
   * etcd's form.
   */
  private readPlain(start: number, limit: number, map: ToRevision): number {
    const { bytes, rows, revisions, keys } = this;
    this.pos = start + 1;
    const length = this.varint();
    const body = this.pos;
    const end = body + length;
    // A length in more bytes than it needs would have to be written anew though it keeps its size.
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

    const toCreated = map(created);
    // Many keys have been written once: both revisions are the same.
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
    rows[row + STRIDE + GROWTH] = rows[row + GROWTH] + growth + lengthGrowth;
    return end;
  }

  /** The same for any KeyValue field. */
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
    rows[row + STRIDE + GROWTH] = rows[row + GROWTH] + size - (r.pos - start);
  }

  /** The varint at `pos`, or -1 for one of more than eight bytes. */
  private varint(): number {
    const { bytes } = this;
    let pos = this.pos;
    let byte = bytes[pos++];
    let value = byte & 0x7f;
    if (byte >= 0x80) {
      byte = bytes[pos++];
      value |= (byte & 0x7f) << 7;
      if (byte >= 0x80) {
        byte = bytes[pos++];
        value |= (byte & 0x7f) << 14;
        if (byte >= 0x80) {
          byte = bytes[pos++];
          value |= (byte & 0x7f) << 21;
          for (let weight = 2 ** 28; byte >= 0x80; weight *= 128) {
            if (weight > 2 ** 49) return -1;
            byte = bytes[pos++];
            value += (byte & 0x7f) * weight;
          }
        }
      }
    }
    this.pos = pos;
    return value;
  }

  /** Writes a plain field, whose size changes, as far as what follows its revisions. */
  private writeHead(key: number, target: Uint8Array, at: number): number {
    const { rows, revisions } = this;
    const row = key * STRIDE;
    this.pos = rows[row + START] + 1;
    const length = this.varint();
    const body = this.pos;
    const sizes = 2 + int64Size(revisions[2 * key]) + int64Size(revisions[2 * key + 1]);
    target[at] = KVS;
    let next = put(target, at + 1, length + sizes - (rows[row + REST] - rows[row + KEY_END]));
    next = copyBytes(this.bytes, body, rows[row + KEY_END], target, next);
    return this.putRevisions(key, target, next);
  }

  private writeOdd(key: number, target: Uint8Array, at: number): number {
    const field = this.odd!.get(key)!;
    target.set(field, at);
    return at + field.length;
  }

  /** Copies what is between `from` and `to`, in which there are the keys from `first` to (without) `last`: none changes its size. */
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
    for (let i = first; i < last; i++) this.putRevisions(i, target, at + rows[i * STRIDE + KEY_END] - from);
    return end;
  }

  private putRevisions(key: number, target: Uint8Array, at: number): number {
    target[at] = CREATE_REVISION;
    const next = put(target, at + 1, this.revisions[2 * key]);
    target[next] = MOD_REVISION;
    return put(target, next + 1, this.revisions[2 * key + 1]);
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

/** Whether between `from` and `end` there are version, value and lease, each once at most and in this order. */
function isRest(bytes: Uint8Array, from: number, end: number): boolean {
  let pos = from;
  if (bytes[pos] === VERSION && pos < end) pos = afterVarint(bytes, pos + 1);
  if (bytes[pos] === VALUE && pos < end) {
    let length = 0;
    let weight = 1;
    let byte = 0;
    do {
      byte = bytes[++pos];
      length += (byte & 0x7f) * weight;
      weight *= 128;
    } while (byte >= 0x80 && weight < 2 ** 35);
    if (byte >= 0x80) return false;
    pos += 1 + length;
  }
  if (bytes[pos] === LEASE && pos < end) pos = afterVarint(bytes, pos + 1);
  return pos === end;
}

/** The place after a varint; beyond any message for one that is too long. */
function afterVarint(bytes: Uint8Array, from: number): number {
  for (let pos = from; pos < from + 10; ) if (bytes[pos++] < 0x80) return pos;
  return Number.MAX_SAFE_INTEGER;
}

function copyBytes(source: Uint8Array, from: number, to: number, target: Uint8Array, at: number): number {
  if (to - from <= SHORT) for (let i = from, j = at; i < to; i++, j++) target[j] = source[i];
  else target.set(source.subarray(from, to), at);
  return at + to - from;
}

/** `putInt64`, for numbers that are not negative and mostly small. */
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
