import { compareBytes } from "../routing/bytes.js";
import type { KeyValue } from "../wire/messages.js";

/** The end of a range. `null` is the end of the keyspace. */
type End = Uint8Array | null;

/** Keys of a range, in ascending order. `more`: the range has keys above them. */
interface Page {
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
}

/** The lowest key above `key`. */
export const keyAfter = (key: Uint8Array): Uint8Array => Uint8Array.of(...key, 0);

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
    private readonly read: (range: { readonly from: Uint8Array; readonly to: End }) => Promise<Page>,
    private readonly pageKeys: number,
  ) {}

  /** All keys of [from, to), a range that is not empty, page by page. Pages may be empty. */
  async *pages(from: Uint8Array, to: End): AsyncGenerator<readonly KeyValue[]> {
    for (let next: Uint8Array | undefined = from; next !== undefined; ) {
      const page: FirstKeys = await this.first(next, to);
      yield page.kvs;
      next = page.next;
    }
  }

  /** Some of the first keys of [from, to), a range that is not empty. */
  async first(from: Uint8Array, to: End): Promise<FirstKeys> {
    const guess = this.span?.endFrom(from) ?? null;
    const isInside = guess !== null && (to === null || compareBytes(guess, to) < 0);
    const end = isInside ? guess : undefined;
    const { kvs, more } = await this.read({ from, to: end ?? to });
    const [first, last] = [kvs[0], kvs.at(-1)];
    if (first !== undefined && last !== undefined && kvs.length > 1)
      this.span = Span.between(first.key, last.key, (2 * this.pageKeys) / kvs.length);
    else if (!more) this.span = this.span?.grown();
    // More follow only after a key.
    return { kvs, next: more && last !== undefined ? keyAfter(last.key) : end };
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
  endFrom(from: Uint8Array): End {
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
