// Indices below are in range by construction; `!` keeps the hot loops free of checks.

import type { Socket } from "node:net";
import { markSent } from "../turn/buffers.js";
import { type Departing, departures, departWithTurn, MAX_COLLECTING } from "../turn/departures.js";
import { Fifo } from "../turn/fifo.js";
import { MESSAGE_PREFIX_BYTES } from "./grpc.js";
import { FRAME_HEADER_BYTES, FrameType } from "./protocol.js";

/** Size of the slabs that frames are assembled in. */
const SLAB_BYTES = 64 * 1024;
/** Slabs with less room are not reused. */
const MIN_ROOM_BYTES = 4 * 1024;
/** Most spare slabs. */
const MAX_SPARE = MAX_COLLECTING;
/** Larger pieces are written without a copy. */
const MAX_COPY_BYTES = 4 * 1024;
/** Pieces up to this size are copied byte by byte, which is faster than a call. */
const MAX_LOOP_BYTES = 8;
/** Data waits while more than this is on its way to the socket. */
const FULL_BYTES = 256 * 1024;

interface Slab {
  readonly bytes: Buffer;
  used: number;
  /** The system may not have taken all of it yet, so it must not be overwritten. */
  leaving: boolean;
}

/** Slabs with room. A connection holds a slab only while it has something to write. */
const spare: Slab[] = [];

/** Makes a slab available again. `written`: the system has taken all its bytes. */
function recycle(slab: Slab, written: boolean): void {
  if (!written) slab.leaving = true;
  if (!slab.leaving) slab.used = 0;
  if (SLAB_BYTES - slab.used >= MIN_ROOM_BYTES && spare.length < MAX_SPARE) spare.push(slab);
}

/** Collects the frames of a turn of the event loop, and writes them to the socket at once. */
export class Outbox implements Departing {
  private slab: Slab | undefined;
  /** Where the current run starts: the bytes at the end of `slab` that are not in `parts` yet. */
  private runStart = 0;
  private parts: Buffer[] = [];
  /** Full slabs, whose runs are in `parts`. */
  private filled: Slab[] = [];
  /** Bytes in `parts`. */
  private partBytes = 0;
  /** Whether `parts` has pieces of large messages, to be reported to `markSent`. */
  private reports = false;
  /** Whether it departs with this turn. */
  private scheduled = false;
  /** Bytes given to the socket so far. */
  private given = 0;
  /** Parts that the system may not have taken yet, and the value of `given` at their ends. */
  private readonly departing = new Fifo<{ readonly part: Buffer; readonly end: number }>();

  constructor(private readonly socket: Socket) {}

  /** Bytes that the system has not taken yet. */
  get backlog(): number {
    const run = this.slab === undefined ? 0 : this.slab.used - this.runStart;
    return this.partBytes + run + this.socket.writableLength;
  }

  /** True while data should wait for the socket to drain. Control frames need not wait. */
  get full(): boolean {
    return this.backlog >= FULL_BYTES;
  }

  /** Flushes a full outbox if the system has taken all bytes so far. */
  relieve(): void {
    if (this.socket.writableLength === 0) this.flush();
  }

  /** Adds the header of a frame. The caller adds its payload of `length` bytes next. */
  frame(type: number, flags: number, streamId: number, length: number): void {
    const slab = this.reserve(FRAME_HEADER_BYTES);
    const { bytes } = slab;
    const at = slab.used;
    bytes[at] = length >>> 16;
    bytes[at + 1] = length >>> 8;
    bytes[at + 2] = length;
    bytes[at + 3] = type;
    bytes[at + 4] = flags;
    bytes[at + 5] = streamId >>> 24;
    bytes[at + 6] = streamId >>> 16;
    bytes[at + 7] = streamId >>> 8;
    bytes[at + 8] = streamId;
    slab.used = at + FRAME_HEADER_BYTES;
  }

  /** Adds a DATA frame with one uncompressed gRPC message of `length` bytes. `parts` must not change until written. */
  message(flags: number, streamId: number, parts: readonly Uint8Array[], length: number): void {
    const size = length + MESSAGE_PREFIX_BYTES;
    if (length > MAX_COPY_BYTES) {
      this.frame(FrameType.DATA, flags, streamId, size);
      this.prefix(length);
      for (const part of parts) this.bytes(part);
      return;
    }
    // The hot path of nearly all messages: reserve memory once, and copy tiny parts without a call.
    const slab = this.reserve(FRAME_HEADER_BYTES + size);
    const { bytes } = slab;
    let at = slab.used;
    bytes[at] = size >>> 16;
    bytes[at + 1] = size >>> 8;
    bytes[at + 2] = size;
    bytes[at + 3] = FrameType.DATA;
    bytes[at + 4] = flags;
    bytes[at + 5] = streamId >>> 24;
    bytes[at + 6] = streamId >>> 16;
    bytes[at + 7] = streamId >>> 8;
    bytes[at + 8] = streamId;
    bytes[at + 9] = 0;
    bytes[at + 10] = 0;
    bytes[at + 11] = length >>> 16;
    bytes[at + 12] = length >>> 8;
    bytes[at + 13] = length;
    at += FRAME_HEADER_BYTES + MESSAGE_PREFIX_BYTES;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!;
      const { length } = part;
      if (length <= MAX_LOOP_BYTES) for (let j = 0; j < length; j++) bytes[at + j] = part[j]!;
      else bytes.set(part, at);
      at += length;
    }
    slab.used = at;
  }

  private prefix(length: number): void {
    const slab = this.reserve(MESSAGE_PREFIX_BYTES);
    slab.bytes[slab.used] = 0;
    slab.bytes.writeUInt32BE(length, slab.used + 1);
    slab.used += MESSAGE_PREFIX_BYTES;
  }

  uint32(value: number): void {
    const slab = this.reserve(4);
    slab.bytes.writeUInt32BE(value >>> 0, slab.used);
    slab.used += 4;
  }

  uint16(value: number): void {
    const slab = this.reserve(2);
    slab.bytes.writeUInt16BE(value, slab.used);
    slab.used += 2;
  }

  /** Adds payload bytes, which must not change until written. */
  bytes(bytes: Uint8Array): void {
    const { length } = bytes;
    if (length <= MAX_COPY_BYTES) {
      const slab = this.reserve(length);
      const { used } = slab;
      if (length > MAX_LOOP_BYTES) slab.bytes.set(bytes, used);
      else for (let i = 0; i < length; i++) slab.bytes[used + i] = bytes[i]!;
      slab.used = used + length;
      return;
    }
    this.endRun();
    this.parts.push(bytes as Buffer);
    this.partBytes += length;
    this.schedule();
  }

  /** Adds bytes of a large message, and calls `markSent` once they are written. */
  piece(bytes: Uint8Array): void {
    this.bytes(bytes);
    if (bytes.length <= MAX_COPY_BYTES) markSent(bytes);
    else this.reports = true;
  }

  depart(): void {
    this.scheduled = false;
    this.flush();
  }

  /** Writes the collected bytes. */
  flush(): void {
    departures.count++;
    const { slab, parts, socket } = this;
    const run = slab !== undefined && slab.used > this.runStart;
    if (socket.destroyed || socket.writableEnded) {
      this.drop();
      return;
    }
    if (parts.length === 0) {
      if (run) socket.write(slab.bytes.subarray(this.runStart, slab.used));
    } else {
      this.parts = [];
      this.partBytes = 0;
      socket.cork();
      for (const part of parts) {
        socket.write(part);
        this.given += part.length;
        if (this.reports) this.departing.push({ part, end: this.given });
      }
      if (run) socket.write(slab.bytes.subarray(this.runStart, slab.used));
      socket.uncork();
    }
    if (run) this.given += slab.used - this.runStart;
    this.reports = false;
    this.taken();
    // Mostly the system takes all bytes at once.
    this.release(socket.writableLength === 0);
  }

  /** Call it when the system may have taken bytes. Calls `markSent` for the parts that it has taken. */
  taken(): void {
    const gone = this.given - this.socket.writableLength;
    let next = this.departing.peek();
    while (next !== undefined && next.end <= gone) {
      markSent(next.part);
      this.departing.shift();
      next = this.departing.peek();
    }
  }

  private drop(): void {
    this.parts = [];
    this.partBytes = 0;
    this.departing.clear();
    this.release(true);
  }

  /** Releases the slabs. `written`: the system has taken all their bytes. */
  private release(written: boolean): void {
    const { slab, filled } = this;
    this.slab = undefined;
    if (slab !== undefined) recycle(slab, written);
    if (filled.length === 0) return;
    this.filled = [];
    for (const each of filled) recycle(each, written);
  }

  private reserve(length: number): Slab {
    const { slab } = this;
    if (slab !== undefined) {
      if (slab.used + length <= SLAB_BYTES) return slab;
      this.endRun();
      this.filled.push(slab);
    }
    return this.take(length);
  }

  private take(length: number): Slab {
    let slab = spare.pop();
    // A slab without room for this is dropped: others could hardly use it.
    if (slab === undefined || slab.used + length > SLAB_BYTES)
      slab = { bytes: Buffer.allocUnsafeSlow(SLAB_BYTES), used: 0, leaving: false };
    this.slab = slab;
    this.runStart = slab.used;
    this.schedule();
    return slab;
  }

  /** Moves the current run to `parts`. The rest of the slab stays in use. */
  private endRun(): void {
    const { slab } = this;
    if (slab === undefined || slab.used === this.runStart) return;
    this.parts.push(slab.bytes.subarray(this.runStart, slab.used));
    this.partBytes += slab.used - this.runStart;
    this.runStart = slab.used;
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    departWithTurn(this);
  }
}
