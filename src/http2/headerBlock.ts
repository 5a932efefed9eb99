import type { HpackDecoder } from "./hpack/decoder.js";
import { type ConnectionLimits, MAX_CONTINUATIONS } from "./limits.js";
import {
  ConnectionError,
  ErrorCode,
  Flag,
  FrameType,
  frameSizeError,
  MAX_WINDOW,
  protocolError,
} from "./protocol.js";

/** Assembles header blocks that come in several frames, and checks the order of frames. */
export class HeaderBlocks<H> {
  /** The stream of the current block; 0 between blocks. */
  streamId = 0;
  /** Whether the current block ends its stream. */
  ends = false;
  private parts: Buffer[] = [];
  private length = 0;

  constructor(
    private readonly decoder: HpackDecoder<H>,
    private readonly limits: ConnectionLimits,
  ) {}

  /** Throws if another frame interrupts a header block. */
  checkOrder(type: number, streamId: number): void {
    const inBlock = this.streamId !== 0;
    if (
      inBlock
        ? type !== FrameType.CONTINUATION || streamId !== this.streamId
        : type === FrameType.CONTINUATION
    ) {
      throw protocolError("a header block interrupted by another frame");
    }
  }

  /** Reads a HEADERS frame. Returns the decoded block, or undefined if it continues in further frames. */
  headers(flags: number, streamId: number, bytes: Buffer, start: number, end: number): H | undefined {
    if (streamId === 0) throw protocolError("HEADERS on stream 0");
    let from = start;
    let padding = 0;
    if (flags & Flag.PADDED) {
      if (from === end) throw frameSizeError("HEADERS");
      padding = bytes.readUInt8(from++);
    }
    if (flags & Flag.PRIORITY) {
      if (end - from < 5) throw frameSizeError("HEADERS");
      if ((bytes.readUInt32BE(from) & MAX_WINDOW) === streamId)
        throw protocolError("a stream that depends on itself");
      from += 5;
    }
    const to = end - padding;
    if (to < from) throw protocolError("padding longer than its frame");
    if (flags & Flag.END_HEADERS) return this.decoder.decode(bytes, from, to);
    this.streamId = streamId;
    this.ends = (flags & Flag.END_STREAM) !== 0;
    this.parts = [Buffer.from(bytes.subarray(from, to))];
    this.length = to - from;
    return undefined;
  }

  /** Reads a CONTINUATION frame. Returns the same as `headers`. */
  continuation(flags: number, bytes: Buffer, start: number, end: number): H | undefined {
    this.parts.push(Buffer.from(bytes.subarray(start, end)));
    this.length += end - start;
    if (this.length > this.limits.maxHeaderBytes || this.parts.length > MAX_CONTINUATIONS) {
      // The block may never end, so it cannot be decoded to keep the table up to date.
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "header block too large", "header_block");
    }
    if ((flags & Flag.END_HEADERS) === 0) return undefined;
    const block = Buffer.concat(this.parts);
    this.streamId = 0;
    this.parts = [];
    return this.decoder.decode(block, 0, block.length);
  }

  /** Drops an unfinished block. */
  stop(): void {
    this.parts = [];
  }
}
