/*
 * gen: a reserved key on every shard. Its value begins with 16 hexadecimal digits, the position of the newest placement change
 * that the shard must not miss. The width is fixed, so that a transaction can compare it as text.
 */

const DIGITS = 16;

/** The digits of `position` (0 to 2^53 - 1). */
export const genDigits = (position: number): string => position.toString(16).padStart(DIGITS, "0");

/**
 * What a write of somebody who has folded the log up to `position` compares: gen's value must be LESS than this. True for
 * every value whose digits are `position` or lower, whatever follows them.
 */
export const genLimit = (position: number): string => genDigits(position + 1);

/** The position in gen's value. Throws a RangeError for a value that does not begin with one. */
export function readGen(value: Uint8Array): number {
  const digits = Buffer.from(value.buffer, value.byteOffset, Math.min(value.length, DIGITS)).toString(
    "latin1",
  );
  if (!/^[0-9a-f]{16}$/.test(digits)) throw new RangeError("the generation of a shard is not readable");
  return Number.parseInt(digits, 16);
}
