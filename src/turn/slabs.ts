/** Size of a slab, and of the longest piece that is cut from one, bytes. */
const SLAB_BYTES = 64 * 1024;
const LONGEST = SLAB_BYTES / 8;

/**
 * Memory for what is kept for about the same time. Node's own pool is shared with all else in the process: an event that
 * is kept would keep 8 KiB of it, most of which nobody needs any more.
 */
export class Slabs {
  private slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  private used = 0;

  /** `length` bytes, of any content. */
  readonly allocate = (length: number): Buffer => {
    if (length > LONGEST) return Buffer.allocUnsafeSlow(length);
    if (this.used + length > SLAB_BYTES) {
      this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.used = 0;
    }
    const from = this.used;
    this.used += length;
    return this.slab.subarray(from, this.used);
  };
}
