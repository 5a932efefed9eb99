/*
 * Keys as Latin-1 text: one character per byte, so that text compares as the bytes do, fits a Map, and compares
 * fast.
 */

/** Above every key: the end of a range without one. */
export const NO_END = "\uffff";

export function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}

/** Keys from `begin` up to, but without, `end`. */
export interface KeyRange {
  readonly begin: string;
  readonly end: string;
}

/** The range `[key, rangeEnd)` by etcd's rules: an empty `rangeEnd` is the one key, a single zero byte has no end. */
export function keyRange(key: Uint8Array, rangeEnd: Uint8Array): KeyRange {
  const begin = keyText(key);
  if (rangeEnd.length === 0) return { begin, end: `${begin}\0` };
  return { begin, end: rangeEnd.length === 1 && rangeEnd[0] === 0 ? NO_END : keyText(rangeEnd) };
}
