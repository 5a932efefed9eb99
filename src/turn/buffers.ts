/*
 * A pool of memory for large messages. Fresh memory misses the caches and often has to come from the system, which
 * takes longer than filling it. Releasing a buffer is optional: the garbage collector takes the rest.
 */

/** Smaller messages gain too little from the pool, larger ones are too rare. */
const MIN_BYTES = 16 * 1024;
const MAX_BYTES = 1024 * 1024;
/** Sizes are rounded up to a multiple of this, so that messages of similar length fit. */
const STEP_BYTES = 64 * 1024;
/** Most memory that the pool keeps for later. */
const MAX_SPARE_BYTES = 4 * 1024 * 1024;

/** Memory handed out by `lend`. */
const lent = new WeakSet<ArrayBufferLike>();
/** Memory handed out by `lendUntilSent`, with the number of bytes still to be sent. */
const unsent = new WeakMap<ArrayBufferLike, number>();
const spare: ArrayBuffer[] = [];
let spareBytes = 0;

/** Returns an uninitialized buffer of `length` bytes. Its last reader may `release` it. */
export function lend(length: number): Buffer {
  if (length < MIN_BYTES || length > MAX_BYTES) return Buffer.allocUnsafeSlow(length);
  const bytes = allocate(length);
  lent.add(bytes.buffer);
  return bytes;
}

/** Returns `bytes` to the pool if they came from `lend`. Nothing may read them afterwards. */
export function release(bytes: Uint8Array): void {
  if (bytes.length >= MIN_BYTES && lent.delete(bytes.buffer)) putSpare(bytes.buffer);
}

/** Returns an uninitialized buffer of `length` bytes for a message that is not needed once it has been sent. */
export function lendUntilSent(length: number): Buffer {
  if (length < MIN_BYTES || length > MAX_BYTES) return Buffer.allocUnsafe(length);
  const bytes = allocate(length);
  unsent.set(bytes.buffer, length);
  return bytes;
}

/** Records that `bytes` were sent. A buffer from `lendUntilSent` returns to the pool once all its parts were. */
export function markSent(bytes: Uint8Array): void {
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

/** Sends `bytes` to several receivers: if they came from `lendUntilSent`, the last receiver releases them. */
export function share(bytes: Uint8Array, receivers: number): void {
  const left = unsent.get(bytes.buffer);
  if (left !== undefined) unsent.set(bytes.buffer, left * receivers);
}

function allocate(length: number): Buffer {
  const memory =
    takeSpare(length) ?? Buffer.allocUnsafeSlow(Math.ceil(length / STEP_BYTES) * STEP_BYTES).buffer;
  return Buffer.from(memory, 0, length);
}

function putSpare(memory: ArrayBufferLike): void {
  if (spareBytes + memory.byteLength > MAX_SPARE_BYTES) return;
  spareBytes += memory.byteLength;
  spare.push(memory as ArrayBuffer);
}

/** Takes the most recently used memory that is large enough, but not far too large. */
function takeSpare(length: number): ArrayBuffer | undefined {
  for (let i = spare.length - 1; i >= 0; i--) {
    const memory = spare[i];
    if (memory === undefined || memory.byteLength < length) continue;
    if (memory.byteLength > 2 * length + STEP_BYTES) continue;
    spare.splice(i, 1);
    spareBytes -= memory.byteLength;
    return memory;
  }
  return undefined;
}
