const EMPTY = Buffer.alloc(0);
const LEAST = 1024;

/**
 * A text that arrives in parts. Copied together as it comes, so that many tiny parts cost no more memory than their
 * bytes; a single one is not copied.
 */
export class Collected {
  private bytes: Buffer = EMPTY;
  private ownsBytes = false;
  private length = 0;

  /** Bytes that have arrived. */
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
        const grown = Buffer.allocUnsafeSlow(Math.max(LEAST, 2 * length, needed));
        this.bytes.copy(grown, 0, 0, length);
        this.bytes = grown;
        this.ownsBytes = true;
      }
      part.copy(this.bytes, length);
    }
    this.length = needed;
  }

  /** The text, of which nothing is left. What is not UTF-8 becomes replacement characters. */
  take(): string {
    const text = this.bytes.toString("utf8", 0, this.length);
    this.bytes = EMPTY;
    this.length = 0;
    return text;
  }
}
