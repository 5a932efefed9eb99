/* Indices below are in range by construction; `!` keeps the loop over bytes free of checks. */

import { TextBuffer } from "./textBuffer.js";

const EMPTY = Buffer.alloc(0);

/** What the scanner is inside of. */
const Inside = { nothing: 0, value: 1, word: 2, string: 3, escape: 4 } as const;
type Inside = (typeof Inside)[keyof typeof Inside];

/**
 * Splits a request body into its JSON values as it arrives. Values may follow each other with or without white space. The
 * splitter only counts brackets and tracks strings; errors inside a value are left to its reader.
 */
export class JsonSplitter {
  private inside: Inside = Inside.nothing;
  private depth = 0;
  /** The beginning of a value, from earlier chunks. */
  private readonly partial = new TextBuffer();
  private chunk: Buffer = EMPTY;
  /** How much of `chunk` has been split. */
  private at = 0;

  /** Size of the incomplete value, in bytes. */
  get pendingBytes(): number {
    return this.partial.size;
  }

  /** Size of what `next` has not split yet, in bytes. */
  get leftBytes(): number {
    return this.chunk.length - this.at;
  }

  /** Takes the next chunk. `next` must have returned all values of the one before. */
  push(chunk: Buffer): void {
    this.chunk = chunk;
    this.at = 0;
  }

  /** Returns the next complete value, or undefined if it needs another chunk. */
  next(): string | undefined {
    const { chunk } = this;
    let start = this.inside === Inside.nothing ? -1 : this.at;
    for (let i = this.at; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (this.inside === Inside.word && endsWord(byte)) {
        this.at = i;
        return this.complete(chunk.subarray(start, i));
      }
      if (this.inside === Inside.nothing) {
        if (isSpace(byte)) continue;
        start = i;
        this.inside = Inside.word;
      }
      if (this.advance(byte)) {
        this.at = i + 1;
        return this.complete(chunk.subarray(start, i + 1));
      }
    }
    if (start >= 0) this.partial.add(chunk.subarray(start));
    this.push(EMPTY);
    return undefined;
  }

  /** Call it when the body has ended. Returns what is left, an incomplete value or a word; undefined if there is nothing. */
  end(): string | undefined {
    this.push(EMPTY);
    return this.partial.size === 0 ? undefined : this.reset();
  }

  /** Takes one byte of a value. Returns true if it is the value's last. */
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
    this.partial.add(last);
    return this.reset();
  }

  private reset(): string {
    this.depth = 0;
    this.inside = Inside.nothing;
    return this.partial.take();
  }
}

/** Whether a number, true, false or null outside of brackets ends before this byte. */
function endsWord(byte: number): boolean {
  return isSpace(byte) || byte === 0x7b || byte === 0x5b || byte === 0x22;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
