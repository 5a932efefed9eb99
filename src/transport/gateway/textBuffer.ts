const EMPTY = Buffer.alloc(0);
const MIN_CAPACITY_BYTES = 1024;

/**
 * Collects a text that arrives in parts. Parts are copied together, so that many tiny ones take no more memory than their
 * bytes. A single part is not copied.
 */
export class TextBuffer {
  private bytes: Buffer = EMPTY;
  private ownsBytes = false;
  private length = 0;

  /** Size of the text so far, in bytes. */
  get size(): number {
    return this.length;
  }

  add(part: Buffer): void {
    const { length } = this;
    const needed = length + part.length;
    if (length === 0) {
      this.bytes = part;
      this.ownsBytes = false;
    } else {
      if (!this.ownsBytes || needed > this.bytes.length) {
        const grown = Buffer.allocUnsafeSlow(Math.max(MIN_CAPACITY_BYTES, 2 * length, needed));
        this.bytes.copy(grown, 0, 0, length);
        this.bytes = grown;
        this.ownsBytes = true;
      }
      part.copy(this.bytes, length);
    }
    this.length = needed;
  }

  /** Returns the text and empties the buffer. Malformed UTF-8 becomes replacement characters. */
  take(): string {
    const text = this.bytes.toString("utf8", 0, this.length);
    this.bytes = EMPTY;
    this.length = 0;
    return text;
  }
}
