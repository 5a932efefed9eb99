/*
 * Keys as Latin-1 text, one character per byte. Such text compares like the bytes, only faster, and can be the key of a
 * Map.
 */

/** Above every key: the end of a range without end. */
export const AFTER_ALL_KEYS = "\uffff";

export function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}

/** Keys from `begin` up to, but without, `end`. */
export interface TextRange {
  readonly begin: string;
  readonly end: string;
}

/** Returns the range of an etcd request. An empty `rangeEnd` means the one key, a single zero byte means no end. */
export function textRange(key: Uint8Array, rangeEnd: Uint8Array): TextRange {
  const begin = keyText(key);
  if (rangeEnd.length === 0) return { begin, end: `${begin}\0` };
  return { begin, end: rangeEnd.length === 1 && rangeEnd[0] === 0 ? AFTER_ALL_KEYS : keyText(rangeEnd) };
}
