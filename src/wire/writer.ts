import { halvesSize, int64Size, putHalves, putInt64, uint64Halves } from "./varint.js";

/** Writes the fields of one message, the last one first. */
export type Write<T> = (writer: Writer, message: T) => void;

/** Bytes that are allocated at once and shared by the small messages written one after the other. */
const SLAB = 16 * 1024;

/** The lower 32 bits. Masks and not `BigInt.asIntN`: Node 20 can abort when it optimises the latter. */
const WORD = 0xffff_ffffn;

/** Byte strings up to this length are cheaper to copy in a loop than with a view. */
const SHORT = 24;

/**
 * Writes protobuf messages BACKWARDS, from their last byte to their first, because then the length of a nested
 * message is known when its length prefix is due: one pass, no copies. Fields are written in descending
 * order and lists from their end. As in proto3, fields with their zero value are left out.
 *
 * The result of `encode` is never touched again: a slab is used up, not used again.
 */
class Writer {
  private slab = Buffer.allocUnsafeSlow(SLAB);
  /** First byte written. */
  private pos = SLAB;
  /** Bytes of the current message. */
  private size = 0;

  /** The bytes of one message. */
  encode<T>(write: Write<T>, message: T): Uint8Array {
    this.size = 0;
    write(this, message);
    const bytes = this.slab.subarray(this.pos, this.pos + this.size);
    // A large slab is left to its message, so that small ones do not keep it alive.
    if (this.slab.length > SLAB) {
      this.slab = Buffer.allocUnsafeSlow(SLAB);
      this.pos = SLAB;
    }
    return bytes;
  }

  bool(tag: number, value: boolean | undefined): void {
    if (!value) return;
    this.reserve(1);
    this.slab[this.pos] = 1;
    this.tag(tag);
  }

  /** An int64 (clamped), int32 or enum. */
  int64(tag: number, value: number | undefined): void {
    if (value) this.int64Always(tag, value);
  }

  /** An int64 that is written even if it is 0: a member of a oneof. */
  int64Always(tag: number, value: number): void {
    this.reserve(int64Size(value));
    putInt64(this.slab, this.pos, value);
    this.tag(tag);
  }

  /** A uint64 given as a number (clamped). */
  uint64(tag: number, value: number | undefined): void {
    if (!value) return;
    const [lo, hi] = uint64Halves(value);
    this.halves(lo, hi);
    this.tag(tag);
  }

  /** An exact 64-bit integer of either sign, modulo 2^64. */
  big64(tag: number, value: bigint | undefined): void {
    if (value) this.big64Always(tag, value);
  }

  /** The same, written even if it is 0. */
  big64Always(tag: number, value: bigint): void {
    this.halves(Number(value & WORD), Number((value >> 32n) & WORD));
    this.tag(tag);
  }

  data(tag: number, value: Uint8Array | undefined): void {
    if (value !== undefined && value.length > 0) this.dataAlways(tag, value);
  }

  /** A byte string that is written even if it is empty: a member of a oneof, an element of a list. */
  dataAlways(tag: number, value: Uint8Array): void {
    this.raw(value);
    this.prefix(tag, value.length);
  }

  text(tag: number, value: string | undefined): void {
    if (value) this.textAlways(tag, value);
  }

  /** A text that is written even if it is empty: an element of a list. */
  textAlways(tag: number, value: string): void {
    const length = Buffer.byteLength(value);
    this.reserve(length);
    this.slab.write(value, this.pos, length, "utf8");
    this.prefix(tag, length);
  }

  message<T>(tag: number, write: Write<T>, message: T | undefined): void {
    if (message === undefined) return;
    const after = this.size;
    write(this, message);
    this.prefix(tag, this.size - after);
  }

  messages<T>(tag: number, write: Write<T>, list: readonly T[] | undefined): void {
    if (list === undefined) return;
    for (let i = list.length - 1; i >= 0; i--) this.message(tag, write, list[i]);
  }

  datas(tag: number, list: readonly Uint8Array[] | undefined): void {
    if (list === undefined) return;
    for (let i = list.length - 1; i >= 0; i--) this.dataAlways(tag, list[i]);
  }

  texts(tag: number, list: readonly string[] | undefined): void {
    if (list === undefined) return;
    for (let i = list.length - 1; i >= 0; i--) this.textAlways(tag, list[i]);
  }

  /** A packed list of enums. */
  packed(tag: number, list: readonly number[] | undefined): void {
    if (list === undefined || list.length === 0) return;
    const after = this.size;
    for (let i = list.length - 1; i >= 0; i--) {
      this.reserve(int64Size(list[i]));
      putInt64(this.slab, this.pos, list[i]);
    }
    this.prefix(tag, this.size - after);
  }

  /** Bytes as they are: unknown fields, encoded before. */
  raw(value: Uint8Array | undefined): void {
    if (value === undefined) return;
    this.reserve(value.length);
    const { slab, pos } = this;
    if (value.length <= SHORT) for (let i = 0; i < value.length; i++) slab[pos + i] = value[i];
    else slab.set(value, pos);
  }

  private halves(lo: number, hi: number): void {
    this.reserve(halvesSize(lo, hi));
    putHalves(this.slab, this.pos, lo, hi);
  }

  private prefix(tag: number, length: number): void {
    this.reserve(int64Size(length));
    putInt64(this.slab, this.pos, length);
    this.tag(tag);
  }

  private tag(tag: number): void {
    this.reserve(int64Size(tag));
    putInt64(this.slab, this.pos, tag);
  }

  /** Makes room for `count` bytes before what is written. */
  private reserve(count: number): void {
    if (count > this.pos) this.grow(count);
    this.pos -= count;
    this.size += count;
  }

  private grow(count: number): void {
    const needed = this.size + count;
    // Beyond half a slab: twice what is there, for what comes; a large byte string only gets its own room.
    const length = Math.max(SLAB, this.size + needed + SLAB / 4);
    const grown = Buffer.allocUnsafeSlow(length);
    grown.set(this.slab.subarray(this.pos, this.pos + this.size), length - this.size);
    this.slab = grown;
    this.pos = length - this.size;
  }
}

export type { Writer };

/** The writer of this thread: encoding is synchronous, so one is enough. */
export const writer = new Writer();
