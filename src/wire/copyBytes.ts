// Indices below are in range by construction; `!` keeps the hot loop free of checks.

/** Up to this length, copying in a loop is faster than `set`. */
export const MAX_LOOP_COPY_BYTES = 24;

/** Copies the bytes between `from` and `to` of `source` to `target` at `at`. Returns the position after them. */
export function copyBytes(
  source: Uint8Array,
  from: number,
  to: number,
  target: Uint8Array,
  at: number,
): number {
  if (to - from <= MAX_LOOP_COPY_BYTES) for (let i = from, j = at; i < to; i++, j++) target[j] = source[i]!;
  else target.set(source.subarray(from, to), at);
  return at + to - from;
}
