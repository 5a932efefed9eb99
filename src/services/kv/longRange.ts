import type { Call } from "../../rpc/call.js";
import { type End, keyAfter, RangeParts } from "../../shard/rangeReader.js";
import { turnTime } from "../../turn/clock.js";
import { type KeyRange, TO_LAST_KEY } from "../../wire/keyRange.js";
import { type RangeRequest, SortOrder, SortTarget } from "../../wire/messages.js";
import type { Memory, RangeMerge } from "../../wire/rangeMerge.js";
import type { RangePart } from "../../wire/rangePart.js";
import { hasBounds } from "./translate.js";

/*
 * A long Range is read in parts, all at one revision. So neither an etcd nor this proxy works on it for long at a time, and others
 * are served in between. Its first part is an ordinary Range with a limit, whose response says how many keys there are.
 */

/** Most keys in a part. A range with fewer keys on each shard is read at once. */
export const PART_KEYS = 1_000;
/** Target size of a part after the first, in bytes. */
const PART_BYTES = 256 * 1024;
const MIN_PART_KEYS = 16;
/** By how much the memory for a response exceeds what its first parts suggest. */
const MARGIN = 1.1;
/** Longer responses get more memory when they need it. The first values may be far larger than the others. */
const MAX_EXPECTED_BYTES = 64 * 1024 * 1024;

/** How long a range counts as long after it was, in milliseconds. */
const REMEMBERED_MS = 10_000;
const MAX_REMEMBERED = 256;
/** Longest bounds of a range that is remembered, in bytes. */
const MAX_BOUND_BYTES = 1024;
/** Most bytes of first parts that wait until it is their calls' turn. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** Keys of a part of a long Range of `call`; undefined if it should be read at once, which costs the etcds less. */
export const partKeysFor = (call: Call): number | undefined =>
  call.isAlone === true ? undefined : PART_KEYS;

/** Whether a Range can be read in parts of `partKeys` keys, and may be long enough for that. */
export function mayBeLong(request: RangeRequest, partKeys: number): boolean {
  const { limit, countOnly, sortTarget, sortOrder } = request;
  return (
    (limit <= 0 || limit > 2 * partKeys) &&
    !countOnly &&
    sortTarget === SortTarget.KEY &&
    sortOrder !== SortOrder.DESCEND &&
    !hasBounds(request)
  );
}

/** Which ranges were long a short time ago, and so probably still are, and which wait for their turn. */
export class LongRanges {
  /** Range → until when it counts, oldest first. */
  private readonly until = new Map<string, number>();
  private waitingBytes = 0;

  note(range: KeyRange): void {
    if (range.key.length + range.rangeEnd.length > MAX_BOUND_BYTES) return;
    const name = nameOf(range);
    this.until.delete(name);
    this.until.set(name, turnTime() + REMEMBERED_MS);
    if (this.until.size <= MAX_REMEMBERED) return;
    for (const oldest of this.until.keys()) {
      this.until.delete(oldest);
      break;
    }
  }

  /** Whether `call` should take the turn of a long call before it reads the range. */
  mustWait(call: Call, request: RangeRequest, range: KeyRange): boolean {
    if (this.until.size === 0 || range.rangeEnd.length === 0 || call.longTurn === undefined) return false;
    if (partKeysFor(call) === undefined || !mayBeLong(request, PART_KEYS)) return false;
    return (this.until.get(nameOf(range)) ?? 0) > turnTime();
  }

  /**
   * Resolves when a long Range whose first parts take `bytes` bytes may go on: when it is the turn of `call`, or at once if too much
   * memory would wait.
   */
  async turnOf(call: Call, bytes: number): Promise<void> {
    if (call.longTurn === undefined || this.waitingBytes + bytes > MAX_WAITING_BYTES) return;
    this.waitingBytes += bytes;
    await call.longTurn();
    this.waitingBytes -= bytes;
  }
}

/** A name for a range that no other has. */
function nameOf({ key, rangeEnd }: KeyRange): string {
  const text = (bytes: Uint8Array) =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  return `${key.length} ${text(key)}${text(rangeEnd)}`;
}

/** How to read a long range: the keys of [key, rangeEnd), at most `limit`, from a shard at the revision of the first parts. */
export type ReadPart = (
  shard: number,
  part: { readonly key: Uint8Array; readonly rangeEnd: Uint8Array; readonly limit: number },
) => Promise<RangePart>;

/** A long Range whose first parts are in `merge`. */
export interface LongRange {
  readonly range: KeyRange;
  /** `Infinity`: all keys. */
  readonly limit: number;
  readonly merge: RangeMerge;
  /** The first part of each shard, not taken yet. */
  readonly firstParts: readonly RangePart[];
  /** Most keys in a part. */
  readonly partKeys: number;
  readonly read: ReadPart;
}

/** Reads the rest of a long Range. Returns the response with the header field `header`. */
export async function finishInParts(
  { range, limit, merge, firstParts, partKeys, read }: LongRange,
  header: Uint8Array,
  memory: Memory,
): Promise<Uint8Array> {
  let [keys, bytes] = [0, 0];
  const rests = new Map<number, Rest>();
  for (const part of firstParts) {
    keys += part.keys;
    bytes += part.length;
    if (part.more) rests.set(part.shard, new Rest(part, range, partKeys, read));
  }
  const expected = MARGIN * (bytes / keys) * Math.min(limit, merge.count);
  merge.begin(header, header.length + Math.ceil(Math.min(expected, MAX_EXPECTED_BYTES)));
  for (;;) {
    const shard = merge.take(limit)?.shard;
    if (shard === undefined) return merge.end(memory);
    merge.write(memory);
    merge.add(await rests.get(shard)!.next());
  }
}

/** The keys of a long range that one shard holds, after its first part. */
class Rest {
  private readonly shard: number;
  private readonly parts = new RangeParts();
  private readonly to: End;
  /** All keys below were read. */
  private from: Uint8Array;
  /** Number of keys not read yet. */
  private left: number;
  /** Number of keys to read next. */
  private wanted: number;
  /** What was read. */
  private keys = 0;
  private bytes = 0;

  constructor(
    first: RangePart,
    private readonly range: KeyRange,
    private readonly partKeys: number,
    private readonly readPart: ReadPart,
  ) {
    this.shard = first.shard;
    this.wanted = partKeys;
    this.to = Buffer.compare(range.rangeEnd, TO_LAST_KEY) === 0 ? null : range.rangeEnd;
    this.from = range.key;
    this.left = first.count;
    this.note(first, undefined);
  }

  /** The next part. Its `more` says whether another follows. */
  async next(): Promise<RangePart> {
    for (;;) {
      const end = this.parts.endOf(this.from, this.to);
      const { shard, from: key, wanted } = this;
      const part = await this.readPart(shard, {
        key,
        rangeEnd: end ?? this.range.rangeEnd,
        limit: 2 * wanted,
      });
      this.note(part, end);
      if (part.keys > 0 || !part.more) return part;
      part.release();
    }
  }

  /** Notes a part that ends at `end`, or with the range. Has `part.more` say whether the shard has keys after it. */
  private note(part: RangePart, end: Uint8Array | undefined): void {
    const { keys, more, length } = part;
    const [first, last] = keys === 0 ? [] : [part.key(0), part.key(keys - 1)];
    this.keys += keys;
    this.bytes += length;
    const fitting = Math.floor((PART_BYTES * this.keys) / this.bytes);
    this.wanted = Math.min(this.partKeys, Math.max(MIN_PART_KEYS, fitting));
    this.parts.note({ from: this.from, end, first, last, keys, more }, this.wanted / 2);
    this.left -= keys;
    const next = more && last !== undefined ? keyAfter(last) : end;
    part.more = next !== undefined && this.left > 0;
    if (next !== undefined) this.from = next;
  }
}
