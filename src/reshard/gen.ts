/*
 * gen is a reserved key on every shard. Its value begins with 16 hexadecimal digits: the position of the newest placement
 * change that the shard must not miss. The width is fixed, so a transaction can compare the value as text.
 */

const DIGITS = 16;

/** The 16 digits of `position` (0 to 2^53 - 1). */
export const genDigits = (position: number): string => position.toString(16).padStart(DIGITS, "0");

/**
 * The upper limit for gen in a write of a proxy that has folded the log up to `position`: the write compares that gen's
 * value is LESS than this. That holds for every value whose digits are `position` or lower, with any text after them.
 */
export const genLimit = (position: number): string => genDigits(position + 1);

/** The position in gen's value. Throws a RangeError when the value does not begin with one. */
export function readGen(value: Uint8Array): number {
  const digits = Buffer.from(value.buffer, value.byteOffset, Math.min(value.length, DIGITS)).toString(
    "latin1",
  );
  if (!/^[0-9a-f]{16}$/.test(digits))
    throw new RangeError("the value of gen on a shard does not begin with 16 hexadecimal digits");
  return Number.parseInt(digits, 16);
}
