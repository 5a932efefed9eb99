/*
 * Keys as Latin-1 text: one character per byte, so that text compares as the bytes do, fits a Map, and compares
 * fast.
 */

/** Above every key: the end of a range without one. */
export const AFTER_ALL_KEYS = "\uffff";

export function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}

/** Keys from `begin` up to, but without, `end`. */
export interface TextRange {
  readonly begin: string;
  readonly end: string;
}

/** The range `[key, rangeEnd)` by etcd's rules: an empty `rangeEnd` is the one key, a single zero byte has no end. */
export function textRange(key: Uint8Array, rangeEnd: Uint8Array): TextRange {
  const begin = keyText(key);
  if (rangeEnd.length === 0) return { begin, end: `${begin}\0` };
  return { begin, end: rangeEnd.length === 1 && rangeEnd[0] === 0 ? AFTER_ALL_KEYS : keyText(rangeEnd) };
}
