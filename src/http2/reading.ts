import type { OnReadOpts } from "node:net";

/** What is read is kept in slabs of this size, bytes. */
const SLAB = 128 * 1024;
/** Least room for one read, bytes. */
const LEAST = 16 * 1024;

/**
 * Has a socket read into slabs, one piece behind the other: by itself Node allocates 64 KiB for each read, however little
 * comes, which costs more than reading it. `take` gets what was read and tells whether somebody may still look at it: then it
 * is never written over, but holds on to its slab.
 */
export function readIntoSlabs(take: (piece: Buffer) => boolean): OnReadOpts {
  let slab = Buffer.allocUnsafeSlow(SLAB);
  let used = 0;
  return {
    buffer: () => {
      if (SLAB - used < LEAST) {
        slab = Buffer.allocUnsafeSlow(SLAB);
        used = 0;
      }
      return used === 0 ? slab : slab.subarray(used);
    },
    callback: (length) => {
      const piece = slab.subarray(used, used + length);
      // What is kept of earlier reads must not leave large messages with little room for ever.
      const isCramped = used > 0 && used + length === SLAB;
      if (take(piece) || isCramped) used += length;
      return true;
    },
  };
}

/** Most that is read at once of one of many connections, bytes. */
const SHARED = 64 * 1024;
/** Slabs of many connections are smaller, bytes: some requests are held for as long as a client waits, and each may hold one. */
const PIECES = 16 * 1024;
/** What is longer than this has memory of its own, bytes. */
const LARGE = 4 * 1024;
/** Into which all of them read: what one has read is copied before the next one reads. */
let shared: Buffer | undefined;
let pieces = Buffer.alloc(0);
let piecesUsed = 0;

/** The same for connections of which there may be many, so that none has a slab of its own: what they read is copied into common ones. */
export function readIntoSharedSlabs(take: (piece: Buffer) => boolean): OnReadOpts {
  shared ??= Buffer.allocUnsafeSlow(SHARED);
  const room = shared;
  return {
    buffer: room,
    callback: (length) => {
      if (length > LARGE) {
        const piece = Buffer.allocUnsafeSlow(length);
        piece.set(length === SHARED ? room : room.subarray(0, length));
        take(piece);
        return true;
      }
      if (pieces.length - piecesUsed < length) {
        pieces = Buffer.allocUnsafeSlow(PIECES);
        piecesUsed = 0;
      }
      const start = piecesUsed;
      const slab = pieces;
      piecesUsed += length;
      const piece = slab.subarray(start, piecesUsed);
      piece.set(room.subarray(0, length));
      if (!take(piece) && pieces === slab && piecesUsed === start + length) piecesUsed = start;
      return true;
    },
  };
}
