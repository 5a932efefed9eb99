/** 2^32, the weight of the upper half of a 64-bit integer. */
const HALF = 4294967296;
const INT64_LIMIT = 2 ** 63;
const UINT64_LIMIT = 2 ** 64;

/** Bytes of an int64 as a varint. The value is clamped to int64. */
export function int64Size(value: number): number {
  if (value < 0) return 10;
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < 0x1000_0000) return 4;
  let size = 5;
  for (let rest = Math.floor(value / 0x1000_0000); rest >= 128 && size < 9; rest = Math.floor(rest / 128))
    size++;
  return size;
}

/** Bytes of a 64-bit integer, given as halves of 32 bits, as a varint. */
export function halvesSize(lo: number, hi: number): number {
  if (hi === 0) return int64Size(lo >>> 0);
  // The fifth byte holds the three lowest bits of the upper half.
  let size = 5;
  for (let rest = hi >>> 3; rest > 0; rest >>>= 7) size++;
  return size;
}

/** Writes a number, clamped to int64, as a varint at `at`. Returns the position after it. */
export function putInt64(target: Uint8Array, at: number, value: number): number {
  if (value >= 0 && value < 128) {
    target[at] = value;
    return at + 1;
  }
  if (value >= INT64_LIMIT) return putHalves(target, at, -1, 0x7fffffff);
  if (value < -INT64_LIMIT) return putHalves(target, at, 0, 1 << 31);
  return putHalves(target, at, value | 0, Math.floor(value / HALF) | 0);
}

/** Splits a number, clamped to uint64, into its lower and upper 32 bits. */
export function uint64Halves(value: number): [lo: number, hi: number] {
  if (value >= UINT64_LIMIT) return [-1, -1];
  if (value <= 0) return [0, 0];
  return [value | 0, Math.floor(value / HALF) | 0];
}

/**
 * Writes a 64-bit integer, given as halves of 32 bits (signed or unsigned), as a varint at `at`. Returns the position
 * after it.
 */
export function putHalves(target: Uint8Array, at: number, lo: number, hi: number): number {
  let low = lo >>> 0;
  let high = hi >>> 0;
  while (high !== 0) {
    target[at++] = (low & 0x7f) | 0x80;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  while (low >= 128) {
    target[at++] = (low & 0x7f) | 0x80;
    low >>>= 7;
  }
  target[at] = low;
  return at + 1;
}
