import type { OnReadOpts } from "node:net";

const SLAB_BYTES = 128 * 1024;
/** Least room for one read. */
const MIN_ROOM_BYTES = 16 * 1024;

/**
 * Returns the `onread` option for a socket that reads into slabs, one piece after the other. By default, Node
 * allocates 64 KiB for each read, even of a few bytes, which costs more than the read. `take` gets each piece and
 * returns whether it may be used later. Such a piece is not overwritten, but keeps its slab alive.
 */
export function readIntoSlabs(take: (piece: Buffer) => boolean): OnReadOpts {
  let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  let used = 0;
  return {
    buffer: () => {
      if (SLAB_BYTES - used < MIN_ROOM_BYTES) {
        slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
        used = 0;
      }
      return used === 0 ? slab : slab.subarray(used);
    },
    callback: (length) => {
      const piece = slab.subarray(used, used + length);
      // A full slab is given up, or pieces kept at its start would leave little room for all later reads.
      const isCramped = used > 0 && used + length === SLAB_BYTES;
      if (take(piece) || isCramped) used += length;
      return true;
    },
  };
}

/** Most bytes of one read from one of many connections. */
const SHARED_BYTES = 64 * 1024;
/** Smaller than other slabs: a request may be kept for as long as a client waits, and each may keep a slab. */
const SHARED_SLAB_BYTES = 16 * 1024;
/** Longer pieces get separate memory. */
const MAX_PIECE_BYTES = 4 * 1024;
/** All these connections read into it. Each read is copied before the next one. */
let shared: Buffer | undefined;
let sharedSlab = Buffer.alloc(0);
let sharedUsed = 0;

/** Like `readIntoSlabs`, but for many connections: they copy what they read into common slabs, so that none owns one. */
export function readIntoSharedSlabs(take: (piece: Buffer) => boolean): OnReadOpts {
  shared ??= Buffer.allocUnsafeSlow(SHARED_BYTES);
  const room = shared;
  return {
    buffer: room,
    callback: (length) => {
      if (length > MAX_PIECE_BYTES) {
        const piece = Buffer.allocUnsafeSlow(length);
        piece.set(length === SHARED_BYTES ? room : room.subarray(0, length));
        take(piece);
        return true;
      }
      if (sharedSlab.length - sharedUsed < length) {
        sharedSlab = Buffer.allocUnsafeSlow(SHARED_SLAB_BYTES);
        sharedUsed = 0;
      }
      const start = sharedUsed;
      const slab = sharedSlab;
      sharedUsed += length;
      const piece = slab.subarray(start, sharedUsed);
      piece.set(room.subarray(0, length));
      if (!take(piece) && sharedSlab === slab && sharedUsed === start + length) sharedUsed = start;
      return true;
    },
  };
}
