import type { Socket } from "node:net";
import { markSent } from "../turn/buffers.js";
import { type Departing, departures, departWithTurn, MAX_COLLECTING } from "../turn/departures.js";
import { Fifo } from "../turn/fifo.js";
import { FRAME_HEADER, FrameType } from "./protocol.js";

/** Frames are put together in slabs of this size, bytes. */
const SLAB = 64 * 1024;
/** A slab with less room than this is not used again, bytes. */
const SCRAP = 4 * 1024;
/** Most slabs kept for use by others. */
const MAX_SPARE = MAX_COLLECTING;
/** Pieces above this are not copied but written as they are, bytes. */
const COPY_LIMIT = 4 * 1024;
/** Bytes of the prefix of a gRPC message. */
const MESSAGE_PREFIX = 5;
/** Pieces up to this are copied byte by byte, bytes. */
const TINY = 8;
/** Bytes on their way to the socket above which data has to wait. */
const FULL = 256 * 1024;

interface Slab {
  readonly bytes: Buffer;
  used: number;
  /** A part of it may still be on its way to the system: it is not written over. */
  leaving: boolean;
}

/** Slabs with room; a connection holds one only while it has something to write. */
const spare: Slab[] = [];

function release(slab: Slab, written: boolean): void {
  if (!written) slab.leaving = true;
  if (!slab.leaving) slab.used = 0;
  if (SLAB - slab.used >= SCRAP && spare.length < MAX_SPARE) spare.push(slab);
}

/** Collects the frames of one turn of the event loop and writes them to the socket at once. */
export class Outbox implements Departing {
  private slab: Slab | undefined;
  private runStart = 0;
  private parts: Buffer[] = [];
  /** Slabs that are full, with runs in `parts`. */
  private filled: Slab[] = [];
  /** Bytes in `parts`. */
  private partBytes = 0;
  /** There are parts of messages among them. */
  private tells = false;
  /** It departs with this turn. */
  private scheduled = false;
  /** Bytes that the socket has been given. */
  private given = 0;
  /** Parts that may still be on their way to the system, and where they end among the bytes given. */
  private readonly departing = new Fifo<{ readonly part: Buffer; readonly end: number }>();

  constructor(private readonly socket: Socket) {}

  /** Bytes that the system has not taken yet. */
  get backlog(): number {
    const run = this.slab === undefined ? 0 : this.slab.used - this.runStart;
    return this.partBytes + run + this.socket.writableLength;
  }

  /** True when data should wait until the socket drains. Control frames need not. */
  get full(): boolean {
    return this.backlog >= FULL;
  }

  /** When it is full: what is collected leaves at once, as long as the system takes all that it is given. */
  relieve(): void {
    if (this.socket.writableLength === 0) this.flush();
  }

  /** A frame's header, to be followed by its payload of `length` bytes. */
  frame(type: number, flags: number, streamId: number, length: number): void {
    const slab = this.reserve(FRAME_HEADER);
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
    slab.used = at + FRAME_HEADER;
  }

  /** A DATA frame with one whole uncompressed gRPC message of `length` bytes, which must not change until they are written. */
  message(flags: number, streamId: number, parts: readonly Uint8Array[], length: number): void {
    const size = length + MESSAGE_PREFIX;
    if (length > COPY_LIMIT) {
      this.frame(FrameType.DATA, flags, streamId, size);
      this.prefix(length);
      for (let i = 0; i < parts.length; i++) this.bytes(parts[i]);
      return;
    }
    // The way of nearly all messages: room is looked for once, and tiny parts are not worth a call.
    const slab = this.reserve(FRAME_HEADER + size);
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
    at += FRAME_HEADER + MESSAGE_PREFIX;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i];
      const { length } = part;
      if (length <= TINY) for (let j = 0; j < length; j++) bytes[at + j] = part[j];
      else bytes.set(part, at);
      at += length;
    }
    slab.used = at;
  }

  private prefix(length: number): void {
    const slab = this.reserve(MESSAGE_PREFIX);
    slab.bytes[slab.used] = 0;
    slab.bytes.writeUInt32BE(length, slab.used + 1);
    slab.used += MESSAGE_PREFIX;
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

  /** Payload bytes, which must not change until they are written. */
  bytes(bytes: Uint8Array): void {
    const { length } = bytes;
    if (length <= COPY_LIMIT) {
      const slab = this.reserve(length);
      const { used } = slab;
      if (length > TINY) slab.bytes.set(bytes, used);
      else for (let i = 0; i < length; i++) slab.bytes[used + i] = bytes[i];
      slab.used = used + length;
      return;
    }
    this.endRun();
    this.parts.push(bytes as Buffer);
    this.partBytes += length;
    this.schedule();
  }

  /** Bytes of a large message: `sent` is told when they are written. */
  piece(bytes: Uint8Array): void {
    this.bytes(bytes);
    if (bytes.length <= COPY_LIMIT) markSent(bytes);
    else this.tells = true;
  }

  depart(): void {
    this.scheduled = false;
    this.flush();
  }

  /** Writes what has been collected. */
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
        if (this.tells) this.departing.push({ part, end: this.given });
      }
      if (run) socket.write(slab.bytes.subarray(this.runStart, slab.used));
      socket.uncork();
    }
    if (run) this.given += slab.used - this.runStart;
    this.tells = false;
    this.taken();
    // Mostly the system takes it all at once.
    this.release(socket.writableLength === 0);
  }

  /** Called when the system may have taken some of what it was given: tells `sent` of parts that have gone. */
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

  /** Gives the slabs back; `written` tells that the system has taken all bytes. */
  private release(written: boolean): void {
    const { slab, filled } = this;
    this.slab = undefined;
    if (slab !== undefined) release(slab, written);
    if (filled.length === 0) return;
    this.filled = [];
    for (const each of filled) release(each, written);
  }

  private reserve(length: number): Slab {
    const { slab } = this;
    if (slab !== undefined) {
      if (slab.used + length <= SLAB) return slab;
      this.endRun();
      this.filled.push(slab);
    }
    return this.take(length);
  }

  private take(length: number): Slab {
    let slab = spare.pop();
    // What had no room for this is of little use to others.
    if (slab === undefined || slab.used + length > SLAB)
      slab = { bytes: Buffer.allocUnsafeSlow(SLAB), used: 0, leaving: false };
    this.slab = slab;
    this.runStart = slab.used;
    this.schedule();
    return slab;
  }

  /** Moves the current run to the parts; the slab stays in use behind it. */
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
