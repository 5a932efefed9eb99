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

/** Puts header blocks together that come in several frames, and watches over the order of frames. */
export class HeaderBlocks<H> {
  /** The stream whose block is being read; 0 between blocks. */
  streamId = 0;
  /** Whether the block that is being read ends its stream. */
  ends = false;
  private parts: Buffer[] = [];
  private length = 0;

  constructor(
    private readonly decoder: HpackDecoder<H>,
    private readonly limits: ConnectionLimits,
  ) {}

  /** Throws for a frame that may not come now: between the frames of a header block there is no other. */
  checkOrder(type: number, streamId: number): void {
    const inBlock = this.streamId !== 0;
    if (
      inBlock
        ? type !== FrameType.CONTINUATION || streamId !== this.streamId
        : type === FrameType.CONTINUATION
    ) {
      throw protocolError("a header block that is not in one piece");
    }
  }

  /** A HEADERS frame. Answers what the block says, or undefined when more of it has to come. */
  headers(flags: number, streamId: number, bytes: Buffer, start: number, end: number): H | undefined {
    if (streamId === 0) throw protocolError("HEADERS on stream 0");
    let from = start;
    let padding = 0;
    if (flags & Flag.PADDED) padding = from < end ? bytes[from++] : end;
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

  /** A CONTINUATION frame. Answers as `headers` does. */
  continuation(flags: number, bytes: Buffer, start: number, end: number): H | undefined {
    this.parts.push(Buffer.from(bytes.subarray(start, end)));
    this.length += end - start;
    if (this.length > this.limits.maxHeaderBytes || this.parts.length > MAX_CONTINUATIONS) {
      // The block cannot be decoded to keep in step, because it might never end.
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "header block too large", "header_block");
    }
    if ((flags & Flag.END_HEADERS) === 0) return undefined;
    const block = Buffer.concat(this.parts);
    this.streamId = 0;
    this.parts = [];
    return this.decoder.decode(block, 0, block.length);
  }

  /** Lets go of a block that will not be finished. */
  stop(): void {
    this.parts = [];
  }
}
