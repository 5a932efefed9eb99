import { int64Size, putInt64 } from "../wire/varint.js";

/*
 * The encoding of twins and version offsets: two lists of numbers of equal length, the first ascending, as varints. A pair
 * takes about 4 bytes.
 */

/** Encodes pairs of numbers, each from 0 to 2^53 - 1. Throws a RangeError when `ascending` is shorter than `values`. */
export function encodePairs(ascending: readonly number[], values: readonly number[]): Buffer {
  let least = Number.POSITIVE_INFINITY;
  for (const value of values) least = Math.min(least, value);
  const numbers: number[] = [values.length];
  if (values.length > 0) numbers.push(least);
  let before = 0;
  for (const [index, value] of values.entries()) {
    const current = ascending[index];
    if (current === undefined) throw new RangeError("the lists of pairs differ in length");
    numbers.push(current - before, value - least);
    before = current;
  }
  let size = 0;
  for (const number of numbers) size += int64Size(number);
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const number of numbers) at = putInt64(bytes, at, number);
  return bytes;
}

/** Decodes the result of `encodePairs`. Throws a SyntaxError for truncated lists and for trailing bytes. */
export function decodePairs(bytes: Uint8Array): { ascending: number[]; values: number[] } {
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = bytes[at++];
      if (byte === undefined) throw new SyntaxError("a list of revisions is truncated");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  const count = next();
  const ascending: number[] = [];
  const values: number[] = [];
  const least = count > 0 ? next() : 0;
  for (let i = 0, before = 0; i < count; i++) {
    before += next();
    ascending.push(before);
    values.push(least + next());
  }
  if (at !== bytes.length) throw new SyntaxError("a list of revisions has trailing bytes");
  return { ascending, values };
}
