// `!` keeps the hot loop free of checks: a byte beyond the end is undefined, and fails the comparison that follows.
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";

/** The value of absent byte fields. */
export const EMPTY = new Uint8Array(0);

/**
 * A range end that was sent, but is empty. It means the same as an absent one, but must not be forwarded: where etcd
 * answers without Raft, it would read it as "no end".
 */
export const GIVEN_EMPTY = new Uint8Array(0);

/** 2^32, the weight of the upper half of a 64-bit integer. */
const HALF = 4294967296;

/**
 * Most levels of nested transactions, so that no input can exhaust the stack. etcd has no such limit, but each level is one
 * of the 128 operations that it allows by default.
 */
const MAX_DEPTH = 256;

/** The error of decoders for bytes that are not a message of the expected type. */
export function malformed(reason: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `malformed message: ${reason}`);
}

/** Decodes one message from `reader`, up to its limit. Merges it into `into`, or returns a new message. */
export type Read<T> = (reader: Reader, into?: T) => T;

/**
 * Reads protobuf's wire format by the rules of etcd's generated decoders: a varint has at most ten bytes, and bits beyond
 * the 64th are dropped. A known field with a wrong wire type is an error. Groups are skipped. All errors are
 * INVALID_ARGUMENT.
 */
export class Reader {
  /** Next byte to read. */
  pos: number;
  /** End of the innermost message being read. */
  limit: number;
  /** Position of the tag that was read last. */
  start = 0;
  private depth = 0;
  /** Halves of the varint that was read last, as int32. */
  private lo = 0;
  private hi = 0;

  /** Reads the bytes between `from` and `to`. */
  constructor(
    readonly bytes: Uint8Array,
    from = 0,
    to = bytes.length,
  ) {
    this.pos = from;
    this.limit = to;
  }

  /** Whether the innermost message has more fields. */
  more(): boolean {
    return this.pos < this.limit;
  }

  /** Reads a tag: field number * 8 + wire type. Call only after `more()` has returned true. */
  tag(): number {
    this.start = this.pos;
    const byte = this.bytes[this.pos]!;
    if (byte < 0x80) {
      this.pos++;
      return byte;
    }
    this.varint();
    // The field number is the 32 bits after the wire type. Further bits are dropped, as in etcd.
    return ((this.lo >>> 3) | (this.hi << 29)) * 8 + (this.lo & 7);
  }

  /** Reads a range end; `GIVEN_EMPTY` for an empty one. */
  rangeEnd(): Uint8Array {
    const end = this.data();
    return end === EMPTY ? GIVEN_EMPTY : end;
  }

  /** Reads a bool. Any varint but 0 is true. */
  bool(): boolean {
    this.varint();
    return (this.lo | this.hi) !== 0;
  }

  /** Reads an enum or int32 as a signed number. */
  int32(): number {
    this.varint();
    return this.lo;
  }

  /** Reads a signed 64-bit integer as the nearest double. */
  int64(): number {
    const byte = this.bytes[this.pos]!;
    if (byte < 0x80 && this.pos < this.limit) {
      this.pos++;
      return byte;
    }
    this.varint();
    return this.hi * HALF + (this.lo >>> 0);
  }

  /** Reads an unsigned 64-bit integer as the nearest double. */
  uint64(): number {
    this.varint();
    return (this.hi >>> 0) * HALF + (this.lo >>> 0);
  }

  /** Reads a signed 64-bit integer exactly. */
  bigInt64(): bigint {
    this.varint();
    if (this.hi === 0) return BigInt(this.lo >>> 0);
    return (BigInt(this.hi) << 32n) | BigInt(this.lo >>> 0);
  }

  /** Reads an unsigned 64-bit integer exactly. */
  bigUint64(): bigint {
    this.varint();
    if (this.hi === 0) return BigInt(this.lo >>> 0);
    return (BigInt(this.hi >>> 0) << 32n) | BigInt(this.lo >>> 0);
  }

  /** Reads a byte string as a view of the input. */
  data(): Uint8Array {
    const length = this.length();
    const from = this.pos;
    this.pos += length;
    return length === 0 ? EMPTY : this.bytes.subarray(from, this.pos);
  }

  /** Skips a byte string, a text or a message. */
  skipData(): void {
    const length = this.length();
    this.pos += length;
  }

  /** Reads a text. Bytes that are not UTF-8 become replacement characters, since etcd does not refuse them either. */
  text(): string {
    const length = this.length();
    if (length === 0) return "";
    const from = this.pos;
    this.pos += length;
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + from, length).toString("utf8");
  }

  /** Reads a message field. With `into`, merges it into an earlier occurrence. */
  message<T>(read: Read<T>, into?: T): T {
    const outer = this.enter();
    const message = read(this, into);
    this.limit = outer;
    return message;
  }

  /** Reads the length of a field and narrows the limit to its end. Returns the outer limit, which the caller restores. */
  enter(): number {
    const length = this.length();
    const outer = this.limit;
    this.limit = this.pos + length;
    return outer;
  }

  /** Enters a level of nested transactions. Throws etcd's error for too many operations. Paired with `rise`. */
  descend(): void {
    if (++this.depth > MAX_DEPTH) throw etcd.tooManyOps();
  }

  /** Leaves a level of nested transactions. */
  rise(): void {
    this.depth--;
  }

  /** Reads a length. Throws when it exceeds the limit. */
  length(): number {
    const byte = this.bytes[this.pos]!;
    let length = byte;
    if (byte < 0x80 && this.pos < this.limit) {
      this.pos++;
    } else {
      this.varint();
      if (this.hi < 0) throw malformed("negative length");
      length = this.hi * HALF + (this.lo >>> 0);
    }
    if (length > this.limit - this.pos) throw malformed("truncated");
    return length;
  }

  /**
   * Skips the field whose tag was read last, and returns `unknown` with the field's bytes appended. Throws for the known
   * field numbers 1 to `known` and `other`, which have a wrong wire type when they come here.
   */
  unknown(tag: number, unknown: Uint8Array | undefined, known: number, other = 0): Uint8Array {
    const from = this.start;
    this.skip(tag, known, other);
    const to = this.pos;
    const { bytes } = this;
    if (unknown === undefined) return bytes.subarray(from, to);
    const length = unknown.length + to - from;
    if (unknown.buffer === bytes.buffer) {
      if (unknown.byteOffset + unknown.length === bytes.byteOffset + from) {
        return bytes.subarray(to - length, to);
      }
    } else if (length <= unknown.buffer.byteLength) {
      // A buffer made below with room left. So the total cost stays linear for any input.
      const grown = new Uint8Array(unknown.buffer, 0, length);
      grown.set(bytes.subarray(from, to), unknown.length);
      return grown;
    }
    const grown = new Uint8Array(new ArrayBuffer(2 * length), 0, length);
    grown.set(unknown);
    grown.set(bytes.subarray(from, to), unknown.length);
    return grown;
  }

  /** Skips the field whose tag was read last. `known` and `other` as in `unknown`. */
  skip(tag: number, known = 0, other = 0): void {
    const field = Math.floor(tag / 8);
    const wireType = tag - field * 8;
    if (wireType === 4) throw malformed("end of a group that has no start");
    if (field <= 0) throw malformed(`field number ${field}`);
    if (field <= known || field === other) throw malformed(`wire type ${wireType} for field ${field}`);
    this.skipValue(wireType);
    if (wireType !== 3) return;
    for (let open = 1; open > 0; ) {
      this.varint();
      const inner = this.lo & 7;
      if (inner === 3) open++;
      else if (inner === 4) open--;
      else this.skipValue(inner);
    }
  }

  private skipValue(wireType: number): void {
    switch (wireType) {
      case 0:
        this.varint();
        return;
      case 1:
        this.advance(8);
        return;
      case 2:
        this.advance(this.length());
        return;
      case 3:
        return;
      case 5:
        this.advance(4);
        return;
      default:
        throw malformed(`wire type ${wireType}`);
    }
  }

  private advance(count: number): void {
    if (count > this.limit - this.pos) throw malformed("truncated");
    this.pos += count;
  }

  private varint(): void {
    const { bytes, limit } = this;
    let pos = this.pos;
    let lo = 0;
    let hi = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      if (pos >= limit) throw malformed("truncated");
      const byte = bytes[pos++]!;
      const bits = byte & 0x7f;
      if (shift < 28) {
        lo |= bits << shift;
      } else if (shift === 28) {
        lo |= bits << 28;
        hi = bits >>> 4;
      } else {
        hi |= bits << (shift - 32);
      }
      if (byte < 0x80) {
        this.pos = pos;
        this.lo = lo;
        this.hi = hi;
        return;
      }
    }
    throw malformed("integer of more than 64 bits");
  }
}
