import { compareBytes } from "../routing/bytes.js";

/** A place between keys: a key is below it or not. `null` is the end of the keyspace, above every key. */
export type Bound = Uint8Array | null;

/** The place below every key that clients can have. Keys of the proxies lie below it, so that they never move. */
export const START: Uint8Array = Uint8Array.of(1);

/** Order of two places: negative, 0 or positive. */
export function compareBounds(a: Bound, b: Bound): number {
  if (a === null) return b === null ? 0 : 1;
  return b === null ? -1 : compareBytes(a, b);
}

/** True when `key` lies in [from, to). */
export const isWithin = (key: Uint8Array, from: Bound, to: Bound): boolean =>
  compareBounds(from, key) <= 0 && compareBounds(key, to) < 0;

/** True when [from, to) and [otherFrom, otherTo) have a place in common. */
export const overlap = (from: Bound, to: Bound, otherFrom: Bound, otherTo: Bound): boolean =>
  compareBounds(from, otherTo) < 0 && compareBounds(otherFrom, to) < 0;

/** The place above every key that begins with `prefix`. */
export function endOfPrefix(prefix: Uint8Array): Bound {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 255) length--;
  if (length === 0) return null;
  const end = prefix.slice(0, length);
  end[length - 1]++;
  return end;
}
