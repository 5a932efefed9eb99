import { compareBytes } from "../routing/bytes.js";
import { Code, StatusError } from "../status/error.js";
import { RangeRequest, RangeResponse, SortOrder } from "../wire/messages.js";
import { KV } from "../wire/paths.js";
import { encodeBytes, prefixEnd } from "./bytes.js";
import type { Calls, Method } from "./calls.js";
import type { KeyEntry, KeyPage } from "./report.js";

export const RANGE: Method<RangeRequest, RangeResponse> = {
  path: KV.Range,
  request: RangeRequest,
  response: RangeResponse,
};

/** Entries of one page. */
const PAGE_ENTRIES = 100;
/** Keys that one Range reads. */
const RANGE_KEYS = 100;
/** Most Ranges of one page. */
const MAX_RANGES = 400;
/** A page ends after this time, in milliseconds. */
const PAGE_MS = 2_000;

/**
 * One page of the tree of keys below `prefix`, from `from` on (by default, from the first key). Keys with a common beginning up to
 * the next `delimiter` become one entry, however many they are: the next Range begins behind them. Every Range of a page reads at
 * the same revision.
 */
export async function keyPage(
  calls: Calls,
  prefix: Uint8Array,
  from: Uint8Array | undefined,
  delimiter: number,
): Promise<KeyPage> {
  const rangeEnd = prefixEnd(prefix);
  const deadline = performance.now() + PAGE_MS;
  const near = new Near(prefix, rangeEnd);
  const entries: KeyEntry[] = [];
  let next: Uint8Array | undefined = from ?? (prefix.length === 0 ? Uint8Array.of(0) : prefix);
  let [revision, keys, ranges] = [0, 0, 0];
  const range = (key: Uint8Array, end: Uint8Array, countOnly: boolean) => {
    ranges++;
    const limit = countOnly ? 0 : RANGE_KEYS;
    const sortOrder = SortOrder.NONE;
    return calls.call(RANGE, { key, rangeEnd: end, revision, limit, keysOnly: true, countOnly, sortOrder });
  };
  /** A tenant's limit ends a page, like its size. The page has to have something, or the user must be told. */
  const unlessLimited = (call: ReturnType<typeof range>) =>
    call.catch((reason) => {
      if (entries.length > 0 && StatusError.from(reason).code === Code.RESOURCE_EXHAUSTED) return undefined;
      throw reason;
    });
  pages: while (next !== undefined) {
    const isEnough = entries.length >= PAGE_ENTRIES || ranges >= MAX_RANGES || performance.now() > deadline;
    if (ranges > 0 && isEnough) break;
    const end: Uint8Array = ranges === 0 ? rangeEnd : near.endFor(next);
    const found = await unlessLimited(range(next, end, false));
    if (found === undefined) break;
    const { kvs, count, more, header } = found;
    if (revision === 0) {
      revision = header.revision;
      keys = count;
    } else near.found(kvs.length > 0);
    next = !more && endsBefore(end, rangeEnd) ? end : undefined;
    for (let i = 0; i < kvs.length; ) {
      const { key } = kvs[i]!;
      const cut = key.indexOf(delimiter, prefix.length);
      if (cut < 0) {
        entries.push({ kind: "key", key: encodeBytes(key) });
        if (++i === kvs.length && more) next = Uint8Array.of(...key, 0);
        continue;
      }
      const folder = key.subarray(0, cut + 1);
      const folderEnd = prefixEnd(folder);
      let last = i;
      while (last < kvs.length && isBelow(kvs[last]!.key, folderEnd)) last++;
      const isOpen = last === kvs.length && more;
      const whole = isOpen ? await unlessLimited(range(key, folderEnd, true)) : { count: last - i };
      if (whole === undefined) {
        next = key;
        break pages;
      }
      entries.push({ kind: "folder", prefix: encodeBytes(folder), keys: whole.count });
      if (isOpen && endsBefore(folderEnd, rangeEnd)) next = folderEnd;
      i = last;
    }
  }
  return {
    prefix: encodeBytes(prefix),
    revision,
    keys,
    entries,
    next: next === undefined ? null : encodeBytes(next),
  };
}

/**
 * Chooses where a Range should end that looks for the next key. An etcd counts all keys of a Range, so a Range to the end of a large
 * prefix takes it long, however few keys it returns. A near end is that of all keys that begin like the first one.
 */
class Near {
  /** Bytes after the prefix that the keys had in common where a key was found last. */
  private fit: number | undefined;
  /** Bytes to try next. */
  private wanted = 0;
  /** By how many bytes the next attempt is shorter, should this one find nothing. */
  private step = 1;

  constructor(
    private readonly prefix: Uint8Array,
    private readonly rangeEnd: Uint8Array,
  ) {}

  endFor(from: Uint8Array): Uint8Array {
    const rest = Math.max(0, from.length - this.prefix.length);
    if (this.fit === undefined) {
      this.fit = rest >> 1;
      this.wanted = this.fit;
    }
    this.wanted = Math.min(this.wanted, rest);
    const end = prefixEnd(from.subarray(0, this.prefix.length + this.wanted));
    return this.wanted > 0 && endsBefore(end, this.rangeEnd) ? end : this.rangeEnd;
  }

  /** Notes whether the last end was far enough. */
  found(any: boolean): void {
    const { fit = 0, wanted } = this;
    if (any) {
      this.fit = wanted;
      this.wanted = wanted + 1;
      this.step = 1;
    } else if (wanted > fit) {
      this.wanted = fit;
    } else {
      this.wanted = Math.max(0, wanted - this.step);
      this.step *= 2;
    }
  }
}

/** One zero byte is no end. */
const isEndless = (end: Uint8Array): boolean => end.length === 1 && end[0] === 0;

const isBelow = (key: Uint8Array, end: Uint8Array): boolean => isEndless(end) || compareBytes(key, end) < 0;

const endsBefore = (end: Uint8Array, other: Uint8Array): boolean => !isEndless(end) && isBelow(end, other);
