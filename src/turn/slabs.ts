const SLAB_BYTES = 64 * 1024;
/** Longest piece that is cut from a slab. */
const MAX_PIECE_BYTES = SLAB_BYTES / 8;

/**
 * Memory for pieces that are kept for about the same time. Node's own pool is shared by the whole process: each
 * kept event would pin 8 KiB of it, most of which is no longer needed.
 */
export class Slabs {
  private slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  private used = 0;

  /** Returns `length` uninitialized bytes. */
  readonly allocate = (length: number): Buffer => {
    if (length > MAX_PIECE_BYTES) return Buffer.allocUnsafeSlow(length);
    if (this.used + length > SLAB_BYTES) {
      this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.used = 0;
    }
    const from = this.used;
    this.used += length;
    return this.slab.subarray(from, this.used);
  };
}
