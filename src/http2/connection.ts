import type { Socket } from "node:net";
import { Fifo } from "./fifo.js";
import { HpackDecoder } from "./hpack/decoder.js";
import { Block, HpackEncoder, type OutField } from "./hpack/encoder.js";
import type { Field } from "./hpack/table.js";
import { type ConnectionLimits, IdleFrames, MAX_BACKLOG, MAX_CONTINUATIONS, Resets } from "./limits.js";
import { Outbox } from "./outbox.js";
import {
  ConnectionError,
  DEFAULT_FRAME_SIZE,
  DEFAULT_WINDOW,
  ErrorCode,
  errorName,
  Flag,
  FrameType,
  MAX_FRAME_SIZE,
  MAX_WINDOW,
  Setting,
} from "./protocol.js";
import { FrameReader, type FrameSink } from "./reader.js";
import type { Stream } from "./stream.js";

/** How many streams that we have reset are remembered, because frames for them may still be on their way. */
const REMEMBERED_RESETS = 1_000;
/** Mark of the pings that only ask whether the peer is there. */
const LIFE_SIGN = 0;
/** How long a peer may take to read what is sent before the connection is closed, ms. */
const CLOSE_GRACE = 1_000;

/**
 * One HTTP/2 connection, of either side: frames, header blocks, settings, flow control and keep-alive. `H` is
 * what a header block means to the side (see `HpackDecoder`).
 */
export abstract class Connection<H> implements FrameSink {
  readonly streams = new Map<number, Stream>();
  /** Window that streams begin with, as the peer has set it. */
  peerWindow = DEFAULT_WINDOW;
  /** Bytes of incomplete or undelivered messages. */
  buffered = 0;
  /** Bytes of messages that wait for flow control or for the socket. */
  queuedBytes = 0;
  /** Streams that we may have open, as the peer has set it. */
  protected peerMaxStreams = Number.POSITIVE_INFINITY;
  protected readonly outbox: Outbox;
  protected readonly encoder = new HpackEncoder();
  protected readonly idleFrames = new IdleFrames();
  /** Highest id of a stream that the peer has opened. */
  protected lastPeerStream = 0;
  /** Nothing more is read or written; the socket is closed or about to be. */
  protected ended = false;

  private readonly reader: FrameReader;
  private readonly decoder: HpackDecoder<H>;
  private readonly resets = new Resets();
  private readonly resetIds = new Set<number>();
  private sendWindow = DEFAULT_WINDOW;
  private recvWindow: number;
  private consumed = 0;
  private readonly waiting = new Fifo<Stream>();
  private pumping = false;
  private settingsSeen = false;
  /** Of the data frame that is being read; undefined when its data is dropped. */
  private dataStream: Stream | undefined;
  private dataEnds = false;
  /** Of the header block that is being read. */
  private blockStream = 0;
  private blockEnds = false;
  private blockParts: Buffer[] = [];
  private blockBytes = 0;
  private lastHeard = Date.now();
  private pingTimer: NodeJS.Timeout | undefined;
  private pongTimer: NodeJS.Timeout | undefined;

  constructor(
    protected readonly socket: Socket,
    readonly limits: ConnectionLimits,
    build: (fields: readonly Field[] | undefined) => H,
  ) {
    this.outbox = new Outbox(socket);
    this.reader = new FrameReader(this);
    this.decoder = new HpackDecoder(build, limits.maxHeaderBytes);
    this.recvWindow = limits.connectionWindow;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.on("drain", () => this.pump());
    socket.on("error", (error) => this.lost(error.message));
    socket.on("end", () => this.lost("closed by the peer"));
    socket.on("close", () => this.lost("closed"));
    this.armPing(limits.pingIntervalMs);
  }

  /** A complete header block. */
  protected abstract onHeaders(streamId: number, head: H, ends: boolean): void;
  protected abstract onGoaway(lastStream: number, code: number, text: string): void;
  /** A stream has ended, in whatever way. */
  protected abstract onStreamGone(stream: Stream): void;
  /** The connection is over. Called once, after all its streams were told. */
  protected abstract onEnded(reason: string): void;
  /** Settings of the peer have come. */
  protected abstract onSettings(): void;
  protected abstract onPong(): void;
  /** Whether `streamId` has ever been used. */
  protected abstract isIdle(streamId: number): boolean;

  protected receive(chunk: Buffer): void {
    if (this.ended) return;
    this.lastHeard = Date.now();
    try {
      this.reader.push(chunk);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      this.fail(error);
    }
  }

  // ---- sending

  protected sendSettings(extra: readonly (readonly [number, number])[]): void {
    const { limits, outbox } = this;
    const settings = [
      [Setting.INITIAL_WINDOW_SIZE, limits.streamWindow],
      [Setting.MAX_HEADER_LIST_SIZE, limits.maxHeaderBytes],
      ...extra,
    ];
    outbox.frame(FrameType.SETTINGS, 0, 0, settings.length * 6);
    for (const [id, value] of settings) {
      outbox.uint16(id);
      outbox.uint32(value);
    }
    this.windowUpdate(0, limits.connectionWindow - DEFAULT_WINDOW);
  }

  /** Sends a header block. It must fit the order in which blocks were encoded: call it with nothing in between. */
  sendHeaders(streamId: number, fields: Block | readonly OutField[], ends: boolean): void {
    const bytes = fields instanceof Block ? this.encoder.encodeBlock(fields) : this.encoder.encode(fields);
    const size = DEFAULT_FRAME_SIZE;
    let flags = ends ? Flag.END_STREAM : 0;
    let type: number = FrameType.HEADERS;
    let at = 0;
    for (; bytes.length - at > size; at += size) {
      this.outbox.frame(type, flags, streamId, size);
      this.outbox.bytes(bytes.subarray(at, at + size));
      type = FrameType.CONTINUATION;
      flags = 0;
    }
    this.outbox.frame(type, flags | Flag.END_HEADERS, streamId, bytes.length - at);
    this.outbox.bytes(at === 0 ? bytes : bytes.subarray(at));
  }

  /** Sends a whole message in one frame if that is possible at once. */
  sendNow(stream: Stream, parts: readonly Uint8Array[], length: number, ends: boolean): boolean {
    const size = length + 5;
    if (size > stream.sendWindow || size > this.sendWindow || size > DEFAULT_FRAME_SIZE) return false;
    if (this.waiting.length > 0 || this.outbox.full || this.ended) return false;
    stream.sendWindow -= size;
    this.sendWindow -= size;
    const { outbox } = this;
    outbox.frame(FrameType.DATA, ends ? Flag.END_STREAM : 0, stream.id, size);
    outbox.messagePrefix(length);
    for (let i = 0; i < parts.length; i++) outbox.bytes(parts[i]);
    if (ends) this.endLocal(stream);
    return true;
  }

  /** Sends the end of the stream's side, of which nothing else is queued. */
  sendEnd(stream: Stream): void {
    const ending = stream.localEnding!;
    if (ending === "data") this.outbox.frame(FrameType.DATA, Flag.END_STREAM, stream.id, 0);
    else this.sendHeaders(stream.id, ending, true);
    this.endLocal(stream);
  }

  /** The stream has something queued. */
  makeReady(stream: Stream): void {
    if (stream.ready || stream.sendWindow <= 0) return;
    stream.ready = true;
    this.waiting.push(stream);
    this.pump();
  }

  windowUpdate(streamId: number, bytes: number): void {
    if (bytes <= 0) return;
    this.outbox.frame(FrameType.WINDOW_UPDATE, 0, streamId, 4);
    this.outbox.uint32(bytes);
  }

  /** Resets a stream; its owner is told with the reason. */
  resetStream(stream: Stream, code: ErrorCode, reason: string): void {
    if (stream.closed) return;
    this.writeReset(stream.id, code);
    this.remove(stream);
    stream.onAborted(code, reason);
  }

  /** Resets a stream, whose owner wants that. */
  abandon(stream: Stream, code: ErrorCode): void {
    if (stream.closed) return;
    this.writeReset(stream.id, code);
    this.remove(stream);
  }

  protected writeReset(streamId: number, code: ErrorCode): void {
    this.outbox.frame(FrameType.RST_STREAM, 0, streamId, 4);
    this.outbox.uint32(code);
    if (this.resetIds.size >= REMEMBERED_RESETS) {
      for (const oldest of this.resetIds) {
        this.resetIds.delete(oldest);
        break;
      }
    }
    this.resetIds.add(streamId);
  }

  /** Takes in a stream. */
  protected add(stream: Stream): void {
    this.streams.set(stream.id, stream);
    if (this.limits.pingOnlyWithStreams && this.pingTimer === undefined) {
      this.armPing(this.limits.pingIntervalMs);
    }
  }

  protected sendGoaway(lastStream: number, code: ErrorCode, text = ""): void {
    const debug = Buffer.from(text);
    this.outbox.frame(FrameType.GOAWAY, 0, 0, 8 + debug.length);
    this.outbox.uint32(lastStream);
    this.outbox.uint32(code);
    this.outbox.bytes(debug);
  }

  /** `mark` tells our pings apart: other than `LIFE_SIGN` they are the sides' own. */
  protected sendPing(mark: number): void {
    this.outbox.frame(FrameType.PING, 0, 0, 8);
    this.outbox.uint32(mark);
    this.outbox.uint32(0);
  }

  // ---- ending

  /** Ends the connection because the peer broke the protocol or a bound. */
  protected fail(error: ConnectionError): void {
    if (this.ended) return;
    this.sendGoaway(this.lastPeerStream, error.code, error.message);
    this.close(`${errorName(error.code)}: ${error.message}`);
  }

  /** Writes what is collected and closes the socket. */
  protected close(reason: string): void {
    if (this.ended) return;
    this.outbox.flush();
    this.socket.destroySoon();
    const timer = setTimeout(() => this.socket.destroy(), CLOSE_GRACE);
    this.socket.once("close", () => clearTimeout(timer));
    this.finish(reason);
  }

  private lost(reason: string): void {
    if (!this.ended) {
      this.outbox.flush();
      this.finish(reason);
    }
    this.socket.destroySoon();
  }

  private finish(reason: string): void {
    this.ended = true;
    this.reader.stop();
    this.blockParts = [];
    clearTimeout(this.pingTimer);
    clearTimeout(this.pongTimer);
    for (const stream of [...this.streams.values()]) {
      this.remove(stream);
      stream.onAborted(undefined, reason);
    }
    this.onEnded(reason);
  }

  // ---- frames

  onDataFrame(flags: number, streamId: number, length: number): void {
    this.checkOrder(FrameType.DATA, streamId);
    if (streamId === 0 || this.isIdle(streamId)) throw protocolError(`DATA on stream ${streamId}`);
    this.dataEnds = (flags & Flag.END_STREAM) !== 0;
    this.recvWindow -= length;
    if (this.recvWindow < 0) {
      throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window");
    }
    // Consumed at once: what waits is bounded by the streams' windows and `maxBufferedBytes`.
    this.consumed += length;
    if (this.consumed * 2 >= this.limits.connectionWindow) {
      this.recvWindow += this.consumed;
      this.windowUpdate(0, this.consumed);
      this.consumed = 0;
    }
    if (length === 0 && !this.dataEnds) this.idleFrames.add();
    else if (length > 0) this.idleFrames.reset();
    const stream = this.streams.get(streamId);
    this.dataStream = undefined;
    if (stream === undefined) {
      this.late(streamId);
    } else if (stream.remoteEnded) {
      this.resetByFault(stream, ErrorCode.STREAM_CLOSED, "data after its end");
    } else {
      stream.recvWindow -= length;
      if (stream.recvWindow < 0) {
        this.resetByFault(stream, ErrorCode.FLOW_CONTROL_ERROR, "more data than its window");
      } else {
        this.dataStream = stream;
      }
    }
  }

  onDataPiece(piece: Buffer, last: boolean): void {
    const stream = this.dataStream;
    if (stream === undefined || stream.closed) return;
    if (piece.length > 0) {
      if (!stream.countBytes(piece.length)) {
        this.resetByFault(stream, ErrorCode.PROTOCOL_ERROR, "more data than its content-length");
        return;
      }
      stream.receive(piece);
    }
    if (!last || !this.dataEnds || stream.closed) return;
    if (stream.lacksBytes) {
      this.resetByFault(stream, ErrorCode.PROTOCOL_ERROR, "less data than its content-length");
      return;
    }
    stream.receiveEnd();
    this.settle(stream);
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    this.checkOrder(type, streamId);
    switch (type) {
      case FrameType.HEADERS:
        this.headers(flags, streamId, bytes, start, end);
        break;
      case FrameType.CONTINUATION:
        this.continuation(flags, bytes, start, end);
        break;
      case FrameType.PRIORITY:
        this.idleFrames.add();
        this.priority(streamId, bytes, start, end);
        break;
      case FrameType.RST_STREAM:
        this.reset(streamId, bytes, start, end);
        break;
      case FrameType.SETTINGS:
        this.idleFrames.add();
        this.settings(flags, streamId, bytes, start, end);
        break;
      case FrameType.PUSH_PROMISE:
        throw protocolError("PUSH_PROMISE");
      case FrameType.PING:
        this.idleFrames.add();
        this.ping(flags, streamId, bytes, start, end);
        break;
      case FrameType.GOAWAY:
        if (streamId !== 0) throw protocolError("GOAWAY on a stream");
        if (end - start < 8) throw frameSizeError("GOAWAY");
        this.idleFrames.add();
        this.onGoaway(
          bytes.readUInt32BE(start) & MAX_WINDOW,
          bytes.readUInt32BE(start + 4),
          bytes.toString("utf8", start + 8, end),
        );
        break;
      case FrameType.WINDOW_UPDATE:
        this.grant(streamId, bytes, start, end);
        break;
      default:
        // Unknown types are ignored, but not for ever.
        this.idleFrames.add();
    }
  }

  /** Between the frames of a header block there is no other frame, and before the first settings there is none at all. */
  private checkOrder(type: number, streamId: number): void {
    if (!this.settingsSeen) {
      if (type !== FrameType.SETTINGS) throw protocolError("the first frame is not SETTINGS");
      this.settingsSeen = true;
    }
    const inBlock = this.blockStream !== 0;
    if (
      inBlock
        ? type !== FrameType.CONTINUATION || streamId !== this.blockStream
        : type === FrameType.CONTINUATION
    ) {
      throw protocolError("a header block that is not in one piece");
    }
  }

  private headers(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
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
    const ends = (flags & Flag.END_STREAM) !== 0;
    if (flags & Flag.END_HEADERS) {
      this.onHeaders(streamId, this.decoder.decode(bytes, from, to), ends);
      return;
    }
    this.blockStream = streamId;
    this.blockEnds = ends;
    this.blockParts = [Buffer.from(bytes.subarray(from, to))];
    this.blockBytes = to - from;
  }

  private continuation(flags: number, bytes: Buffer, start: number, end: number): void {
    this.blockParts.push(Buffer.from(bytes.subarray(start, end)));
    this.blockBytes += end - start;
    if (this.blockBytes > this.limits.maxHeaderBytes || this.blockParts.length > MAX_CONTINUATIONS) {
      // The block cannot be decoded to keep in step, because it might never end.
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "header block too large");
    }
    if ((flags & Flag.END_HEADERS) === 0) return;
    const block = Buffer.concat(this.blockParts);
    const streamId = this.blockStream;
    this.blockStream = 0;
    this.blockParts = [];
    this.onHeaders(streamId, this.decoder.decode(block, 0, block.length), this.blockEnds);
  }

  private priority(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw protocolError("PRIORITY on stream 0");
    const stream = this.streams.get(streamId);
    if (end - start !== 5) {
      if (stream === undefined) throw frameSizeError("PRIORITY");
      this.resetByFault(stream, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a wrong length");
    } else if ((bytes.readUInt32BE(start) & MAX_WINDOW) === streamId) {
      if (stream === undefined) throw protocolError("a stream that depends on itself");
      this.resetByFault(stream, ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself");
    }
  }

  private reset(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw frameSizeError("RST_STREAM");
    if (streamId === 0 || this.isIdle(streamId)) throw protocolError("RST_STREAM of an idle stream");
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      this.idleFrames.add();
      return;
    }
    this.resets.add();
    const code = bytes.readUInt32BE(start) as ErrorCode;
    this.remove(stream);
    stream.onAborted(code, `Received RST_STREAM with code ${code} (${errorName(code)})`);
  }

  private settings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolError("SETTINGS on a stream");
    const ack = (flags & Flag.ACK) !== 0;
    if ((end - start) % 6 !== 0 || (ack && end > start)) throw frameSizeError("SETTINGS");
    if (ack) return;
    for (let at = start; at < end; at += 6) this.setting(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
    this.checkBacklog();
    this.outbox.frame(FrameType.SETTINGS, Flag.ACK, 0, 0);
    this.onSettings();
    this.pump();
  }

  private setting(id: number, value: number): void {
    switch (id) {
      case Setting.HEADER_TABLE_SIZE:
        this.encoder.setMaxTableSize(value);
        break;
      case Setting.ENABLE_PUSH:
        if (value > 1) throw protocolError("SETTINGS_ENABLE_PUSH is neither 0 nor 1");
        break;
      case Setting.MAX_CONCURRENT_STREAMS:
        this.peerMaxStreams = value;
        break;
      case Setting.INITIAL_WINDOW_SIZE: {
        if (value > MAX_WINDOW) throw windowTooLarge();
        const change = value - this.peerWindow;
        this.peerWindow = value;
        for (const stream of this.streams.values()) this.widen(stream, change);
        break;
      }
      case Setting.MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_SIZE || value > MAX_FRAME_SIZE) {
          throw protocolError("SETTINGS_MAX_FRAME_SIZE out of range");
        }
        // Larger frames would only make other streams wait.
        break;
    }
  }

  private ping(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolError("PING on a stream");
    if (end - start !== 8) throw frameSizeError("PING");
    if (flags & Flag.ACK) {
      clearTimeout(this.pongTimer);
      this.pongTimer = undefined;
      if (bytes.readUInt32BE(start) !== LIFE_SIGN) this.onPong();
      return;
    }
    this.checkBacklog();
    this.outbox.frame(FrameType.PING, Flag.ACK, 0, 8);
    this.outbox.bytes(bytes.subarray(start, end));
  }

  private grant(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw frameSizeError("WINDOW_UPDATE");
    const increment = bytes.readUInt32BE(start) & MAX_WINDOW;
    if (streamId === 0) {
      if (increment === 0) throw protocolError("a window update of 0");
      this.sendWindow += increment;
      if (this.sendWindow > MAX_WINDOW) throw windowTooLarge();
      this.pump();
      return;
    }
    if (this.isIdle(streamId)) throw protocolError("WINDOW_UPDATE of an idle stream");
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      this.idleFrames.add();
    } else if (increment === 0) {
      this.resetByFault(stream, ErrorCode.PROTOCOL_ERROR, "a window update of 0");
    } else if (stream.sendWindow + increment > MAX_WINDOW) {
      this.resetByFault(stream, ErrorCode.FLOW_CONTROL_ERROR, "window too large");
    } else {
      // Tiny grants may not buy unbounded work.
      if (stream.pendingBytes === 0) this.idleFrames.add();
      this.widen(stream, increment);
      this.pump();
    }
  }

  private widen(stream: Stream, bytes: number): void {
    stream.sendWindow += bytes;
    if (stream.sendWindow > MAX_WINDOW) throw windowTooLarge();
    if (stream.sendWindow > 0 && stream.pendingBytes > 0 && !stream.ready) {
      stream.ready = true;
      this.waiting.push(stream);
    }
  }

  /** A frame came for a stream that is gone. */
  protected late(streamId: number): void {
    this.idleFrames.add();
    this.checkBacklog();
    if (!this.resetIds.has(streamId)) this.writeReset(streamId, ErrorCode.STREAM_CLOSED);
  }

  /** Whether we have reset the stream not long ago. */
  protected wasReset(streamId: number): boolean {
    return this.resetIds.has(streamId);
  }

  /** Counts a stream that ended by a reset; throws when there are too many. */
  protected countReset(): void {
    this.resets.add();
  }

  /** Resets a stream whose peer did something wrong. */
  protected resetByFault(stream: Stream, code: ErrorCode, reason: string): void {
    this.resets.add();
    this.resetStream(stream, code, reason);
  }

  // ---- the streams that wait

  /** Sends queued data, one frame of each stream in turn, as far as windows and the socket allow. */
  private pump(): void {
    if (this.pumping || this.ended) return;
    this.pumping = true;
    while (this.waiting.length > 0 && this.sendWindow > 0 && !this.outbox.full) this.sendFrame();
    this.pumping = false;
  }

  private sendFrame(): void {
    const stream = this.waiting.shift()!;
    stream.ready = false;
    const size = Math.min(stream.pendingBytes, DEFAULT_FRAME_SIZE, stream.sendWindow, this.sendWindow);
    if (stream.closed || size <= 0) return;
    const last = size === stream.pendingBytes;
    const ends = last && stream.localEnding === "data";
    stream.sendWindow -= size;
    this.sendWindow -= size;
    this.outbox.frame(FrameType.DATA, ends ? Flag.END_STREAM : 0, stream.id, size);
    stream.dequeue(size, (piece) => this.outbox.bytes(piece));
    if (ends) this.endLocal(stream);
    else if (last && stream.localEnding !== undefined) this.sendEnd(stream);
    else if (!last && stream.sendWindow > 0) {
      stream.ready = true;
      this.waiting.push(stream);
    }
    if (!stream.closed) stream.sent();
  }

  private endLocal(stream: Stream): void {
    stream.localEnded = true;
    this.settle(stream);
    if (!stream.closed) stream.onLocalEnd();
  }

  /** Lets go of a stream both of whose sides have ended. */
  settle(stream: Stream): void {
    if (stream.localEnded && stream.remoteEnded && !stream.closed && !stream.holding) this.remove(stream);
  }

  protected remove(stream: Stream): void {
    if (stream.closed) return;
    this.streams.delete(stream.id);
    stream.release();
    this.onStreamGone(stream);
  }

  // ---- keep-alive

  private armPing(delay: number): void {
    this.pingTimer = setTimeout(() => this.pingDue(), delay).unref();
  }

  private pingDue(): void {
    const { pingIntervalMs, pingTimeoutMs, pingOnlyWithStreams } = this.limits;
    this.pingTimer = undefined;
    if (pingOnlyWithStreams && this.streams.size === 0) return;
    const silence = Date.now() - this.lastHeard;
    if (silence < pingIntervalMs) {
      this.armPing(pingIntervalMs - silence);
      return;
    }
    if (this.pongTimer === undefined) {
      this.sendPing(LIFE_SIGN);
      this.pongTimer = setTimeout(() => {
        this.close("no answer to a ping");
        this.socket.destroy();
      }, pingTimeoutMs).unref();
    }
    this.armPing(pingIntervalMs);
  }

  /** A peer that makes us answer without reading the answers. */
  protected checkBacklog(): void {
    if (this.outbox.backlog > MAX_BACKLOG) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "answers are not read");
    }
  }
}

export function protocolError(text: string): ConnectionError {
  return new ConnectionError(ErrorCode.PROTOCOL_ERROR, text);
}

function frameSizeError(frame: string): ConnectionError {
  return new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `${frame} of a wrong length`);
}

function windowTooLarge(): ConnectionError {
  return new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "window too large");
}
