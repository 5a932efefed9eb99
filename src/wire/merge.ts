import { Patches, patchKeyValue, type ToRevision } from "./patch.js";
import { Reader } from "./reader.js";
import { int64Size, putInt64 } from "./varint.js";

/*
 * RangeResponses of several shards put together in key order, as bytes: keys are found and compared where they are,
 * revisions are changed while each KeyValue is copied, once, into the answer.
 */

/** Numbers kept for each key. */
const START = 0;
const END = 1;
const KEY_START = 2;
const KEY_END = 3;
/** Place of its first change, and how much the changes of the keys before it have added. */
const PATCH = 4;
const GROWTH = 5;
const STRIDE = 6;

/** Parts that are kept to be used again, and the most keys that such a part may have room for. */
const MAX_SPARE = 16;
const MAX_SPARE_KEYS = 2_048;

const spare: RangePart[] = [];

/** A shard's RangeResponse, whose keys are in order. */
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
  private readonly patches = new Patches();
  private readonly index: number[] = [];

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
    return this.bytes.subarray(this.index[at + KEY_START], this.index[at + KEY_END]);
  }

  /** Less than 0 when the next key of this part comes before the next one of `other`, whose first `skip` bytes are the same. */
  compareNext(other: RangePart, skip: number): number {
    const a = this.bytes;
    const b = other.bytes;
    const here = this.next * STRIDE;
    const there = other.next * STRIDE;
    let i = this.index[here + KEY_START] + skip;
    let j = other.index[there + KEY_START] + skip;
    const lengthA = this.index[here + KEY_END] - i;
    const lengthB = other.index[there + KEY_END] - j;
    for (const end = i + Math.min(lengthA, lengthB); i < end; i++, j++) {
      if (a[i] !== b[j]) return a[i] - b[j];
    }
    return lengthA - lengthB;
  }

  /** Whether key `i` follows key `i - 1` in the response with nothing in between. */
  follows(i: number): boolean {
    return this.index[i * STRIDE + START] === this.index[(i - 1) * STRIDE + END];
  }

  /** Bytes of the keys from `from` to (without) `to`, which follow each other, in the answer. */
  size(from: number, to: number): number {
    const { index, patches } = this;
    const first = from * STRIDE;
    const growth = to < this.keys ? index[to * STRIDE + GROWTH] : patches.growth;
    return index[(to - 1) * STRIDE + END] - index[first + START] + growth - index[first + GROWTH];
  }

  /** Writes them to `target` at `at`; answers the place after them. */
  write(from: number, to: number, target: Uint8Array, at: number): number {
    const { index, patches } = this;
    const first = from * STRIDE;
    const end = index[(to - 1) * STRIDE + END];
    const last = to < this.keys ? index[to * STRIDE + PATCH] : patches.count;
    return patches.applySome(index[first + PATCH], last, this.bytes, index[first + START], end, target, at);
  }

  /** Gives the part back; nothing may use it afterwards. */
  release(): void {
    this.bytes = NOTHING;
    if (this.index.length <= MAX_SPARE_KEYS * STRIDE && spare.length < MAX_SPARE) spare.push(this);
  }

  private read(response: Uint8Array, map: ToRevision): void {
    const { index } = this;
    const patches = this.patches.reset();
    const r = new Reader(response);
    this.bytes = response;
    this.more = false;
    this.count = 0;
    this.next = 0;
    let at = 0;
    while (r.more()) {
      const tag = r.tag();
      switch (tag) {
        case 0x12:
          index[at + START] = r.start;
          index[at + PATCH] = patches.count;
          index[at + GROWTH] = patches.growth;
          patchKeyValue(r, patches, map);
          index[at + END] = r.pos;
          index[at + KEY_START] = patches.keyStart;
          index[at + KEY_END] = patches.keyEnd;
          at += STRIDE;
          break;
        case 0x18:
          this.more = r.bool();
          break;
        case 0x20:
          this.count = r.int64();
          break;
        default:
          // The header, and what a later etcd may add.
          r.skip(tag, tag === 0x0a ? 0 : 4);
      }
    }
    this.keys = at / STRIDE;
  }
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

  /** The RangeResponse with the header field `header`. Ends the merge. */
  finish(header: Uint8Array): Uint8Array {
    const { runParts, runFrom, runTo, count } = this;
    const more = this.all.some((part) => part.more || part.next < part.keys);
    let size = header.length + (more ? 2 : 0) + (count > 0 ? 1 + int64Size(count) : 0);
    for (let i = 0; i < runParts.length; i++) size += runParts[i].size(runFrom[i], runTo[i]);
    const response = Buffer.allocUnsafe(size);
    response.set(header);
    let at = header.length;
    for (let i = 0; i < runParts.length; i++) at = runParts[i].write(runFrom[i], runTo[i], response, at);
    if (more) {
      response[at++] = 0x18;
      response[at++] = 1;
    }
    if (count > 0) {
      response[at++] = 0x20;
      putInt64(response, at, count);
    }
    for (const part of this.all) part.release();
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

const NOTHING = new Uint8Array(0);
