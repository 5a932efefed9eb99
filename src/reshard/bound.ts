import { compareBytes, prefixEnd } from "../routing/bytes.js";

/** A place between keys: every key lies below it or not. `null` is the end of the keyspace, above every key. */
export type Bound = Uint8Array | null;

/** The lowest bound of a sweep. The proxies' own keys begin with a zero byte and lie below it, so they never move. */
export const START: Uint8Array = Uint8Array.of(1);

/** Compares two bounds: negative, 0 or positive. */
export function compareBounds(a: Bound, b: Bound): number {
  if (a === null) return b === null ? 0 : 1;
  return b === null ? -1 : compareBytes(a, b);
}

/** True when `key` lies in [from, to). */
export const isWithin = (key: Uint8Array, from: Bound, to: Bound): boolean =>
  compareBounds(from, key) <= 0 && compareBounds(key, to) < 0;

/** True when [from, to) and [otherFrom, otherTo) intersect. */
export const overlap = (from: Bound, to: Bound, otherFrom: Bound, otherTo: Bound): boolean =>
  compareBounds(from, otherTo) < 0 && compareBounds(otherFrom, to) < 0;

/** The lowest bound above every key that begins with `prefix`. */
export function endOfPrefix(prefix: Uint8Array): Bound {
  return prefixEnd(prefix) ?? null;
}
