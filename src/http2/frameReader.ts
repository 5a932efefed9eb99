// Indices below are in range by construction; `!` keeps the hot loops free of checks.

import {
  ConnectionError,
  DEFAULT_FRAME_SIZE,
  ErrorCode,
  Flag,
  FRAME_HEADER_BYTES,
  FrameType,
} from "./protocol.js";

const EMPTY = Buffer.alloc(0);

/** Receives the frames that a `FrameReader` finds. */
export interface FrameSink {
  /** A complete frame of any type but DATA. Its payload, `bytes[start, end)`, is valid only during the call. */
  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void;
  /**
   * The start of a DATA frame, whose data follows in pieces. Flow control counts `length` bytes, of which
   * `padding` are not data.
   */
  onDataFrame(flags: number, streamId: number, length: number, padding: number): void;
  /** The next piece of this frame's data, `bytes[start, end)`. Each frame has at least one piece; one is the `last`. */
  onDataPiece(bytes: Buffer, start: number, end: number, last: boolean): void;
}

/**
 * Splits the bytes of a connection into frames. The data of DATA frames is passed on as it comes, without a copy.
 * Other frames are assembled first; their maximum size bounds the memory.
 */
export class FrameReader {
  private readonly header = Buffer.alloc(FRAME_HEADER_BYTES);
  private headerLength = 0;
  private body: Buffer = EMPTY;
  private bodyLength = 0;
  /** Bytes of the current frame still to come; -1 between frames. */
  private missing = -1;
  private streaming = false;
  private type = 0;
  private flags = 0;
  private streamId = 0;
  private stopped = false;

  constructor(private readonly sink: FrameSink) {}

  /** Stops reading, even in the middle of a chunk. */
  stop(): void {
    this.stopped = true;
    this.body = EMPTY;
  }

  /** Reads a chunk. Throws `ConnectionError` for a frame that is too large or malformed, and anything that the sink throws. */
  push(chunk: Buffer): void {
    let at = 0;
    const { length } = chunk;
    while (at < length && !this.stopped) {
      if (this.missing < 0) {
        if (this.headerLength === 0 && length - at >= FRAME_HEADER_BYTES) {
          this.begin(chunk, at);
          at += FRAME_HEADER_BYTES;
        } else {
          this.header[this.headerLength++] = chunk[at++]!;
          if (this.headerLength < FRAME_HEADER_BYTES) continue;
          this.headerLength = 0;
          this.begin(this.header, 0);
        }
        if (this.missing > 0 && at === length) return;
      }
      at = this.payload(chunk, at);
    }
  }

  private begin(bytes: Buffer, at: number): void {
    const size = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    this.type = bytes[at + 3]!;
    this.flags = bytes[at + 4]!;
    this.streamId =
      ((bytes[at + 5]! & 0x7f) << 24) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 8) | bytes[at + 8]!;
    if (size > DEFAULT_FRAME_SIZE)
      throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `frame of ${size} bytes`);
    this.missing = size;
    this.bodyLength = 0;
    this.streaming = this.type === FrameType.DATA && (this.flags & Flag.PADDED) === 0;
    if (this.streaming) {
      this.sink.onDataFrame(this.flags, this.streamId, size, 0);
      if (size > 0 || this.stopped) return;
      this.missing = -1;
      this.sink.onDataPiece(EMPTY, 0, 0, true);
    } else if (size === 0) {
      this.missing = -1;
      this.complete(EMPTY, 0, 0);
    }
  }

  /** Reads payload from `chunk[at…]`. Returns where it ends. */
  private payload(chunk: Buffer, at: number): number {
    const { missing } = this;
    if (missing < 0 || this.stopped) return at;
    const available = chunk.length - at;
    const take = available < missing ? available : missing;
    const end = at + take;
    const last = take === missing;
    this.missing = last ? -1 : missing - take;
    if (this.streaming) {
      this.sink.onDataPiece(chunk, at, end, last);
    } else if (last && this.bodyLength === 0) {
      this.complete(chunk, at, end);
    } else {
      if (this.bodyLength === 0) this.body = Buffer.allocUnsafe(missing);
      chunk.copy(this.body, this.bodyLength, at, end);
      this.bodyLength += take;
      if (last) {
        const { body, bodyLength } = this;
        this.body = EMPTY;
        this.complete(body, 0, bodyLength);
      }
    }
    return end;
  }

  private complete(bytes: Buffer, start: number, end: number): void {
    if (this.type !== FrameType.DATA) {
      this.sink.onFrame(this.type, this.flags, this.streamId, bytes, start, end);
      return;
    }
    const padding = end > start ? bytes[start]! : 0;
    if (start === end || padding >= end - start) {
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame");
    }
    this.sink.onDataFrame(this.flags, this.streamId, end - start, 1 + padding);
    this.sink.onDataPiece(bytes, start + 1, end - padding, true);
  }
}
