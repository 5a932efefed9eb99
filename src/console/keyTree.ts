import { compareBytes } from "../routing/bytes.js";
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
/** Most Ranges of one page. With many keys, each costs the shards a walk through their index. */
const MAX_RANGES = 40;
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
  const entries: KeyEntry[] = [];
  /** The folder at the end of the last Range: its place in `entries`, and the number of keys from its first one to the end. */
  let open: { readonly at: number; readonly keysFrom: number } | undefined;
  let next: Uint8Array | undefined = from ?? (prefix.length === 0 ? Uint8Array.of(0) : prefix);
  let [revision, keys] = [0, 0];
  for (let ranges = 0; next !== undefined; ranges++) {
    const isEnough = entries.length >= PAGE_ENTRIES || ranges >= MAX_RANGES || performance.now() > deadline;
    if (ranges > 0 && isEnough) break;
    const begin: Uint8Array = next;
    const { kvs, count, more, header } = await calls.call(RANGE, {
      key: begin,
      rangeEnd,
      revision,
      limit: RANGE_KEYS,
      keysOnly: true,
      sortOrder: SortOrder.NONE,
    });
    if (revision === 0) {
      revision = header.revision;
      keys = count;
    }
    if (open !== undefined) {
      close(entries, open, count);
      open = undefined;
    }
    next = undefined;
    for (let i = 0; i < kvs.length; ) {
      const { key } = kvs[i]!;
      const cut = key.indexOf(delimiter, prefix.length);
      if (cut < 0) {
        entries.push({ kind: "key", key: encodeBytes(key) });
        if (++i === kvs.length && more) next = Uint8Array.of(...key, 0);
        continue;
      }
      const folder = key.subarray(0, cut + 1);
      const end = prefixEnd(folder);
      const isEndless = end.length === 1 && end[0] === 0;
      let last = i;
      while (last < kvs.length && (isEndless || compareBytes(kvs[last]!.key, end) < 0)) last++;
      const isOpen = last === kvs.length && more;
      entries.push({ kind: "folder", prefix: encodeBytes(folder), keys: isOpen ? null : last - i });
      if (isOpen) {
        open = { at: entries.length - 1, keysFrom: count - i };
        if (isEndless) close(entries, open, 0);
        else next = end;
      }
      i = last;
    }
    if (next !== undefined && compareEnd(next, rangeEnd) >= 0) {
      if (open !== undefined) close(entries, open, 0);
      next = undefined;
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

/** Sets the number of keys of a folder, once it is known how many come after it. */
function close(
  entries: KeyEntry[],
  { at, keysFrom }: { readonly at: number; readonly keysFrom: number },
  keysAfter: number,
): void {
  const entry = entries[at];
  if (entry?.kind === "folder") entries[at] = { ...entry, keys: keysFrom - keysAfter };
}

/** Compares a key with the end of a range. One zero byte is no end. */
const compareEnd = (key: Uint8Array, end: Uint8Array): number =>
  end.length === 1 && end[0] === 0 ? -1 : compareBytes(key, end);
