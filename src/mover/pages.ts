import { type Bound, compareBounds } from "../reshard/bound.js";
import type { KeyValue } from "../wire/messages.js";
import type { MoverOptions } from "./options.js";
import type { MoverShard, Page, PageRequest } from "./shard.js";

/** Bytes that a key counts. */
export const sizeOf = ({ key, value }: Pick<KeyValue, "key" | "value">): number => key.length + value.length;

/** The lowest bound above `key`. */
export const after = (key: Uint8Array): Uint8Array => Uint8Array.of(...key, 0);

/** Pages begin small, because the first one shows how large values are. */
const FIRST_PAGE = 16;
const MAX_GROWTH = 8;

/** Reads pages with values from one shard. Adapts the number of keys to the size of their values. */
export class PageReader {
  private limit: number;

  constructor(
    private readonly shard: MoverShard,
    private readonly options: Pick<MoverOptions, "pageKeys" | "pageBytes">,
  ) {
    this.limit = Math.min(FIRST_PAGE, options.pageKeys);
  }

  async read(request: Omit<PageRequest, "limit" | "keysOnly">): Promise<Page> {
    const page = await this.shard.range({ ...request, limit: this.limit });
    const { pageKeys, pageBytes } = this.options;
    if (page.kvs.length > 0) {
      const average = page.kvs.reduce((sum, kv) => sum + sizeOf(kv), 0) / page.kvs.length;
      const fitting = Math.floor(pageBytes / average);
      this.limit = Math.max(1, Math.min(fitting, pageKeys, this.limit * MAX_GROWTH));
    }
    return page;
  }
}

/** Where the next page begins: undefined after the last one. */
export const nextOf = ({ kvs, more }: Page): Uint8Array | undefined => {
  const last = kvs.at(-1);
  return more && last !== undefined ? after(last.key) : undefined;
};

/** The first keys of a range. */
export interface FirstKeys {
  /** In ascending order. May be empty although more follow. */
  readonly kvs: readonly KeyValue[];
  /** All keys below were read. Undefined: all keys of the range. */
  readonly next: Uint8Array | undefined;
}

/**
 * Reads a long range page by page. etcd visits all keys of a requested range, whatever the limit is, so requests for all that is
 * left would cost more the more keys there are. This requests a part that has about two pages of keys, as far as the last page
 * shows how dense they are.
 */
export class RangeReader {
  /** Undefined until a page shows how dense keys are. */
  private span: Span | undefined;

  constructor(
    private readonly read: (range: { readonly from: Bound; readonly to: Bound }) => Promise<Page>,
    private readonly pageKeys: number,
  ) {}

  async first(from: Bound, to: Bound): Promise<FirstKeys> {
    const guess = from === null || this.span === undefined ? null : this.span.endFrom(from);
    const end = guess !== null && compareBounds(guess, to) < 0 ? guess : undefined;
    const page = await this.read({ from, to: end ?? to });
    const { kvs } = page;
    const [first, last] = [kvs[0], kvs.at(-1)];
    if (first !== undefined && last !== undefined && kvs.length > 1)
      this.span = Span.between(first.key, last.key, (2 * this.pageKeys) / kvs.length);
    else if (!page.more) this.span = this.span?.grown();
    return { kvs, next: nextOf(page) ?? end };
  }
}

/** Bytes of keys that are compared as numbers, from the first one that differs. */
const DIGITS = 6;
const MAX_UNITS = 2 ** 48;

/** A distance between keys, taken as fractions in base 256. */
class Span {
  private constructor(
    /** Length of the keys that differ by one unit. */
    private readonly depth: number,
    private readonly units: number,
    /** How often it has grown. */
    private readonly growths = 0,
  ) {}

  /** `times` the distance from `a` to `b`, a greater key. */
  static between(a: Uint8Array, b: Uint8Array, times: number): Span {
    let same = 0;
    while (same < a.length && a[same] === b[same]) same++;
    let units = 0;
    for (let i = same; i < same + DIGITS; i++) units = units * 256 + (b[i] ?? 0) - (a[i] ?? 0);
    return Span.of(same + DIGITS, Math.max(1, units) * times);
  }

  private static of(depth: number, units: number, growths = 0): Span {
    let rest = Math.ceil(units);
    let digits = depth;
    for (; rest >= MAX_UNITS && digits > 0; digits--) rest = Math.ceil(rest / 256);
    return new Span(digits, rest, growths);
  }

  /** For the next part after one without keys: 8 times as long, and by more when that finds nothing, because prefixes can be long. */
  grown(): Span {
    const bits = 3 * 2 ** Math.floor(this.growths / 2);
    return Span.of(this.depth, this.units * 2 ** bits, this.growths + 1);
  }

  /** The bound at this distance above `from`. */
  endFrom(from: Uint8Array): Bound {
    const end = new Uint8Array(this.depth);
    end.set(from.subarray(0, this.depth));
    let carry = this.units;
    for (let i = this.depth - 1; i >= 0 && carry > 0; i--) {
      carry += end[i]!;
      end[i] = carry % 256;
      carry = Math.floor(carry / 256);
    }
    return carry > 0 ? null : end;
  }
}

const firstKeys = (page: Page): FirstKeys => ({ kvs: page.kvs, next: nextOf(page) });

/** Calls `visit` with all pages of a range without values, one after the other. Each is the newest state of its moment. */
export async function eachPage(
  shard: MoverShard,
  { from, to }: { readonly from: Bound; readonly to: Bound },
  { pageKeys }: Pick<MoverOptions, "pageKeys">,
  visit: (kvs: readonly KeyValue[]) => Promise<void>,
): Promise<void> {
  const read = (range: { readonly from: Bound; readonly to: Bound }) =>
    shard.range({ ...range, limit: pageKeys, keysOnly: true });
  const reader = new RangeReader(read, pageKeys);
  for (let next: Bound | undefined = from; next !== undefined; ) {
    // A step is short enough to request all that is left of it.
    const page: FirstKeys =
      to === null ? await reader.first(next, to) : firstKeys(await read({ from: next, to }));
    await visit(page.kvs);
    next = page.next;
  }
}
