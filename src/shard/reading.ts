import type { OnReadOpts } from "node:net";

/** Room for what is read is allocated in slabs of this size, bytes. */
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
      const isFull = used + length === SLAB;
      // What is kept of earlier reads must not leave large messages with little room for ever.
      if (take(piece) || isFull) used += length;
      return true;
    },
  };
}
