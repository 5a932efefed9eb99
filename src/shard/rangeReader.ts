import { compareBytes } from "../routing/bytes.js";
import type { KeyValue } from "../wire/messages.js";

/** The end of a range. `null` is the end of the keyspace. */
export type End = Uint8Array | null;

/** Keys of a range, in ascending order. `more`: the range has keys above them. */
interface Page {
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
}

/** What was read of a part of a range. */
interface PartBounds {
  readonly from: Uint8Array;
  /** Undefined: the end of the range. */
  readonly end: Uint8Array | undefined;
  readonly first: Uint8Array | undefined;
  readonly last: Uint8Array | undefined;
  readonly keys: number;
  /** The part has keys above them. */
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
 * Chooses the parts of a long range. etcd visits all keys of a requested range, whatever the limit is, so requests for all that is
 * left would cost more the more keys there are. A part has about twice as many keys as wanted, as far as the last page shows how
 * dense they are.
 */
export class RangeParts {
  /** Undefined until a page shows how dense keys are. */
  private span: Span | undefined;

  /** The end of the part of [from, to) that begins it. Undefined: all of it. */
  endOf(from: Uint8Array, to: End): Uint8Array | undefined {
    const guess = this.span?.endFrom(from) ?? null;
    return guess !== null && (to === null || compareBytes(guess, to) < 0) ? guess : undefined;
  }

  /** Notes the keys of [from, end), the last part, or the first of them. `wanted`: number of keys for the next page. */
  note({ from, end, first, last, keys, more }: PartBounds, wanted: number): void {
    if (keys === 0 || first === undefined || last === undefined) this.span = this.span?.grown();
    else if (more || end === undefined)
      this.span = keys === 1 ? this.span : Span.between(first, last, (2 * wanted) / keys);
    else this.span = Span.between(from, end, (2 * wanted) / keys);
  }
}

/** Reads a long range page by page. */
export class RangeReader {
  private readonly parts = new RangeParts();

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
    const end = this.parts.endOf(from, to);
    const { kvs, more } = await this.read({ from, to: end ?? to });
    const [first, last] = [kvs[0]?.key, kvs.at(-1)?.key];
    this.parts.note({ from, end, first, last, keys: kvs.length, more }, this.pageKeys);
    // More follow only after a key.
    return { kvs, next: more && last !== undefined ? keyAfter(last) : end };
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
    /** Length of what the keys that it was made from have in common. */
    private readonly common: number,
    /** How often it has grown. */
    private readonly growths = 0,
  ) {}

  /** `times` the distance from `a` to `b`, a greater key. */
  static between(a: Uint8Array, b: Uint8Array, times: number): Span {
    let same = 0;
    while (same < a.length && a[same] === b[same]) same++;
    let units = 0;
    for (let i = same; i < same + DIGITS; i++) units = units * 256 + (b[i] ?? 0) - (a[i] ?? 0);
    return Span.of(same + DIGITS, Math.max(1, units) * times, same);
  }

  private static of(depth: number, units: number, common: number, growths = 0): Span {
    let rest = Math.ceil(units);
    let digits = depth;
    for (; rest >= MAX_UNITS && digits > 0; digits--) rest = Math.ceil(rest / 256);
    return new Span(digits, rest, common, growths);
  }

  /**
   * For the next part after one without keys. The first two go to the next prefixes of the length that the last keys had in common.
   * Then they are 4 times as long, and by more when that finds nothing, because prefixes can be long.
   */
  grown(): Span {
    const { depth, units, common, growths } = this;
    if (growths < 2 && common > 0) return Span.of(common, 1, common, growths + 1);
    return Span.of(depth, units * 2 ** (2 ** growths), common, growths + 1);
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
