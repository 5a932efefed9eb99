/*
 * Memory for large messages that is used again. New memory has to be fetched into the caches, and mostly from the system too:
 * that takes longer than filling it. Nobody has to give anything back: what is not is garbage like all else.
 */

/** Messages below this are not worth it, above it too rare, bytes. */
const LEAST = 16 * 1024;
const MOST = 1024 * 1024;
/** Sizes are multiples of this, so that messages of about the same length fit, bytes. */
const STEP = 64 * 1024;
/** What is kept for use at most, bytes. */
const MAX_SPARE = 4 * 1024 * 1024;

/** Those from `lend`. */
const lent = new WeakSet<ArrayBufferLike>();
/** Those from `lendUntilSent`, and how many bytes of them were not sent yet. */
const unsent = new WeakMap<ArrayBufferLike, number>();
const spare: ArrayBuffer[] = [];
let spareBytes = 0;

/** A buffer of `length` bytes, of any content, which who reads it last may give back. */
export function lend(length: number): Buffer {
  if (length < LEAST || length > MOST) return Buffer.allocUnsafeSlow(length);
  const bytes = allocate(length);
  lent.add(bytes.buffer);
  return bytes;
}

/** Says that nobody will look at `bytes` any more, which may be from `lend`. */
export function giveBack(bytes: Uint8Array): void {
  if (bytes.length >= LEAST && lent.delete(bytes.buffer)) putSpare(bytes.buffer);
}

/** A buffer of `length` bytes, of any content, for a message that is sent once and then no more needed. */
export function lendUntilSent(length: number): Buffer {
  if (length < LEAST || length > MOST) return Buffer.allocUnsafe(length);
  const bytes = allocate(length);
  unsent.set(bytes.buffer, length);
  return bytes;
}

/** Says that `bytes`, which may be a part of a buffer from `lendUntilSent`, were sent. */
export function sent(bytes: Uint8Array): void {
  const { buffer } = bytes;
  const left = unsent.get(buffer);
  if (left === undefined) return;
  if (left > bytes.length) {
    unsent.set(buffer, left - bytes.length);
    return;
  }
  unsent.delete(buffer);
  putSpare(buffer);
}

/** Says that `bytes`, which may be from `lendUntilSent`, are sent to as many `receivers`: the last one gives them free. */
export function share(bytes: Uint8Array, receivers: number): void {
  const left = unsent.get(bytes.buffer);
  if (left !== undefined) unsent.set(bytes.buffer, left * receivers);
}

function allocate(length: number): Buffer {
  const memory = takeSpare(length) ?? Buffer.allocUnsafeSlow(Math.ceil(length / STEP) * STEP).buffer;
  return Buffer.from(memory, 0, length);
}

function putSpare(memory: ArrayBufferLike): void {
  if (spareBytes + memory.byteLength > MAX_SPARE) return;
  spareBytes += memory.byteLength;
  spare.push(memory as ArrayBuffer);
}

/** The one used last that is large enough and not far too large. */
function takeSpare(length: number): ArrayBuffer | undefined {
  for (let i = spare.length - 1; i >= 0; i--) {
    const memory = spare[i];
    if (memory.byteLength < length || memory.byteLength > 2 * length + STEP) continue;
    spare.splice(i, 1);
    spareBytes -= memory.byteLength;
    return memory;
  }
  return undefined;
}
