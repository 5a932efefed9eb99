// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import { MAX_LOOP_COPY_BYTES } from "./copyBytes.js";
import { halvesSize, int64Size, putHalves, putInt64, uint64Halves } from "./varint.js";

/** Writes the fields of a message, the last one first. */
export type Write<T> = (writer: Writer, message: T) => void;

/** Size of a slab, which is shared by small messages. */
const SLAB_BYTES = 16 * 1024;

/** Mask of 32 bits. Not `BigInt.asIntN`, because Node 20 can abort when it optimises that. */
const WORD = 0xffff_ffffn;

/**
 * Writes protobuf messages backwards, from the last byte to the first. So the length of a nested message is known when its
 * length prefix is written, and one pass without copies is enough. Fields are written in descending order, and lists from
 * their end. As in proto3, fields with their zero value are omitted.
 *
 * The result of `encode` is never modified afterwards, because slabs are not reused.
 */
class Writer {
  private slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  /** Position of the first byte written. */
  private pos = SLAB_BYTES;
  /** Bytes of the current message so far. */
  private size = 0;

  /** Encodes a message. */
  encode<T>(write: Write<T>, message: T): Uint8Array {
    this.size = 0;
    write(this, message);
    const bytes = this.slab.subarray(this.pos, this.pos + this.size);
    // Small messages must not keep a large slab in memory.
    if (this.slab.length > SLAB_BYTES) {
      this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.pos = SLAB_BYTES;
    }
    return bytes;
  }

  bool(tag: number, value: boolean | undefined): void {
    if (!value) return;
    this.reserve(1);
    this.slab[this.pos] = 1;
    this.tag(tag);
  }

  /** Writes an int64 (clamped), int32 or enum. */
  int64(tag: number, value: number | undefined): void {
    if (value) this.int64Always(tag, value);
  }

  /** Writes an int64 even if it is 0, as a member of a oneof. */
  int64Always(tag: number, value: number): void {
    this.reserve(int64Size(value));
    putInt64(this.slab, this.pos, value);
    this.tag(tag);
  }

  /** Writes a uint64 given as a number (clamped). */
  uint64(tag: number, value: number | undefined): void {
    if (!value) return;
    const [lo, hi] = uint64Halves(value);
    this.halves(lo, hi);
    this.tag(tag);
  }

  /** Writes a 64-bit integer, signed or unsigned, modulo 2^64. */
  big64(tag: number, value: bigint | undefined): void {
    if (value) this.big64Always(tag, value);
  }

  /** `big64`, but writes 0 too. */
  big64Always(tag: number, value: bigint): void {
    this.halves(Number(value & WORD), Number((value >> 32n) & WORD));
    this.tag(tag);
  }

  data(tag: number, value: Uint8Array | undefined): void {
    if (value !== undefined && value.length > 0) this.dataAlways(tag, value);
  }

  /** Writes a byte string even if it is empty, as a member of a oneof or an element of a list. */
  dataAlways(tag: number, value: Uint8Array): void {
    this.raw(value);
    this.prefix(tag, value.length);
  }

  text(tag: number, value: string | undefined): void {
    if (value) this.textAlways(tag, value);
  }

  /** Writes a text even if it is empty, as an element of a list. */
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
    for (let i = list.length - 1; i >= 0; i--) this.message(tag, write, list[i]!);
  }

  datas(tag: number, list: readonly Uint8Array[] | undefined): void {
    if (list === undefined) return;
    for (let i = list.length - 1; i >= 0; i--) this.dataAlways(tag, list[i]!);
  }

  texts(tag: number, list: readonly string[] | undefined): void {
    if (list === undefined) return;
    for (let i = list.length - 1; i >= 0; i--) this.textAlways(tag, list[i]!);
  }

  /** Writes a packed list of enums. */
  packed(tag: number, list: readonly number[] | undefined): void {
    if (list === undefined || list.length === 0) return;
    const after = this.size;
    for (let i = list.length - 1; i >= 0; i--) {
      const value = list[i]!;
      this.reserve(int64Size(value));
      putInt64(this.slab, this.pos, value);
    }
    this.prefix(tag, this.size - after);
  }

  /** Writes encoded fields. */
  raw(value: Uint8Array | undefined): void {
    if (value === undefined) return;
    this.reserve(value.length);
    const { slab, pos } = this;
    if (value.length <= MAX_LOOP_COPY_BYTES) for (let i = 0; i < value.length; i++) slab[pos + i] = value[i]!;
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

  /** Makes room for `count` bytes before those written. */
  private reserve(count: number): void {
    if (count > this.pos) this.grow(count);
    this.pos -= count;
    this.size += count;
  }

  private grow(count: number): void {
    const needed = this.size + count;
    // Large messages double their slab as they grow. A large byte string gets its size and some reserve.
    const length = Math.max(SLAB_BYTES, this.size + needed + SLAB_BYTES / 4);
    const grown = Buffer.allocUnsafeSlow(length);
    grown.set(this.slab.subarray(this.pos, this.pos + this.size), length - this.size);
    this.slab = grown;
    this.pos = length - this.size;
  }
}

export type { Writer };

/** The writer of this thread. One is enough, because encoding is synchronous. */
export const writer = new Writer();
