import { Collected } from "./collected.js";

/** What the scanner is in the middle of. */
const Inside = { nothing: 0, value: 1, word: 2, string: 3, escape: 4 } as const;
type Inside = (typeof Inside)[keyof typeof Inside];

/**
 * Cuts a request body into its JSON values as it arrives: objects one after the other, with or without anything between
 * them. It only counts brackets and follows strings; what is wrong inside of a value is found by whoever reads it.
 */
export class JsonSplitter {
  private inside: Inside = Inside.nothing;
  private depth = 0;
  /** The value that has begun in earlier chunks. */
  private readonly begun = new Collected();

  /** Bytes of the value that has begun and is not complete. */
  get pendingBytes(): number {
    return this.begun.size;
  }

  /** The values that `chunk` completes. */
  push(chunk: Buffer): string[] {
    const values: string[] = [];
    let start = this.inside === Inside.nothing ? -1 : 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i];
      if (this.inside === Inside.word && endsWord(byte)) {
        values.push(this.complete(chunk.subarray(start, i)));
        start = -1;
      }
      if (this.inside === Inside.nothing) {
        if (isSpace(byte)) continue;
        start = i;
        this.inside = Inside.word;
      }
      if (this.advance(byte)) {
        values.push(this.complete(chunk.subarray(start, i + 1)));
        start = -1;
      }
    }
    if (start >= 0) this.begun.add(chunk.subarray(start));
    return values;
  }

  /** What is left when the body has ended: an incomplete value, or a word; undefined when there is nothing. */
  end(): string | undefined {
    return this.begun.size === 0 ? undefined : this.reset();
  }

  /** Takes one byte of a value; true when it is the value's last. */
  private advance(byte: number): boolean {
    switch (this.inside) {
      case Inside.escape:
        this.inside = Inside.string;
        return false;
      case Inside.string:
        if (byte === 0x5c) this.inside = Inside.escape;
        else if (byte === 0x22) {
          this.inside = Inside.value;
          return this.depth === 0;
        }
        return false;
      default:
        if (byte === 0x22) this.inside = Inside.string;
        else if (byte === 0x7b || byte === 0x5b) {
          this.inside = Inside.value;
          this.depth++;
        } else if (this.inside === Inside.value && (byte === 0x7d || byte === 0x5d)) {
          return --this.depth === 0;
        }
        return false;
    }
  }

  private complete(last: Buffer): string {
    this.begun.add(last);
    return this.reset();
  }

  private reset(): string {
    this.depth = 0;
    this.inside = Inside.nothing;
    return this.begun.take();
  }
}

/** A number, true, false or null at the top ends before this byte. */
function endsWord(byte: number): boolean {
  return isSpace(byte) || byte === 0x7b || byte === 0x5b || byte === 0x22;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
