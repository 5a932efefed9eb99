import { int64Size, putInt64 } from "../wire/varint.js";

/*
 * Two lists of numbers side by side, the first ascending, as variable-length numbers: how twins and version offsets are written,
 * some 4 bytes a pair.
 */

/** Encodes pairs; `values` lie at or above 0. */
export function encodePairs(ascending: readonly number[], values: readonly number[]): Buffer {
  let least = Number.POSITIVE_INFINITY;
  for (const value of values) least = Math.min(least, value);
  const numbers: number[] = [values.length];
  if (values.length > 0) numbers.push(least);
  let before = 0;
  for (let i = 0; i < values.length; i++) {
    numbers.push(ascending[i] - before, values[i] - least);
    before = ascending[i];
  }
  let size = 0;
  for (const number of numbers) size += int64Size(number);
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const number of numbers) at = putInt64(bytes, at, number);
  return bytes;
}

/** Reads what `encodePairs` has written. Throws a SyntaxError for anything else. */
export function decodePairs(bytes: Uint8Array): { ascending: number[]; values: number[] } {
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      if (at >= bytes.length) throw new SyntaxError("a list of revisions is cut short");
      const byte = bytes[at++];
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
  if (at !== bytes.length) throw new SyntaxError("a list of revisions is followed by something else");
  return { ascending, values };
}
