import type { Socket } from "node:net";
import type { SharedBytes } from "../stats/connections.js";
import { HeaderBlocks } from "./headerBlock.js";
import { HpackDecoder } from "./hpack/decoder.js";
import type { Field } from "./hpack/table.js";
import { KeepAlive, LIFE_SIGN } from "./keepAlive.js";
import { type ConnectionLimits, IdleFrames, Resets } from "./limits.js";
import { PingAnswers } from "./pingAnswers.js";
import {
  ConnectionError,
  DEFAULT_FRAME_SIZE,
  DEFAULT_WINDOW,
  ErrorCode,
  errorName,
  Flag,
  FrameType,
  frameSizeError,
  MAX_FRAME_SIZE,
  MAX_WINDOW,
  protocolError,
  Setting,
} from "./protocol.js";
import { FrameReader, type FrameSink } from "./reader.js";
import { Sender } from "./sender.js";
import type { Stream, StreamConnection } from "./stream.js";
import { StreamTable } from "./streamTable.js";

/** How many streams that we have reset are remembered, because frames for them may still be on their way. */
const REMEMBERED_RESETS = 1_000;
/** Settings cost as much as one more frame for each 2^n streams. */
const STREAMS_PER_COST = 8;
/** How long a peer may take to read what is sent before the connection is closed, ms. */
const CLOSE_GRACE = 1_000;

/** What connections hold together. */
export interface SharedMemory {
  /** Messages to be sent. */
  readonly queued: SharedBytes;
  /** Messages that have come. */
  readonly received: SharedBytes;
}

/**
 * One HTTP/2 connection, of either side: frames, header blocks, settings, flow control and keep-alive. `H` is
 * what a header block means to the side (see `HpackDecoder`).
 */
export abstract class Connection<H> implements FrameSink, StreamConnection {
  readonly streams = new StreamTable<Stream>();
  readonly sender: Sender;
  /** Streams that we may have open, as the peer has set it. */
  protected peerMaxStreams = Number.POSITIVE_INFINITY;
  lends = 0;
  protected readonly idleFrames: IdleFrames;
  /** Highest id of a stream that the peer has opened. */
  protected lastPeerStream = 0;
  /** Nothing more is read or written; the socket is closed or about to be. */
  protected ended = false;
  /** How many pieces of data have come from the socket. */
  protected chunks = 0;

  /** Bytes of messages that are incomplete or undelivered, and of calls in progress; also counted in `received`. */
  private buffered = 0;
  private readonly received: SharedBytes;
  private readonly reader: FrameReader;
  private readonly headerBlocks: HeaderBlocks<H>;
  private readonly keepAlive: KeepAlive;
  private readonly pingAnswers: PingAnswers;
  private readonly resets = new Resets();
  private readonly resetIds = new Set<number>();
  private recvWindow: number;
  private consumed = 0;
  private settingsSeen = false;
  /** Of the data frame that is being read; undefined when its data is dropped. */
  private dataStream: Stream | undefined;
  private dataEnds = false;

  constructor(
    protected readonly socket: Socket,
    readonly limits: ConnectionLimits,
    build: (fields: readonly Field[] | undefined) => H,
    { queued, received }: SharedMemory,
  ) {
    this.sender = new Sender(socket, limits, queued);
    this.received = received;
    this.idleFrames = new IdleFrames(this.sender);
    this.reader = new FrameReader(this);
    this.headerBlocks = new HeaderBlocks(new HpackDecoder(build, limits.maxHeaderBytes), limits);
    this.pingAnswers = new PingAnswers(this.sender);
    this.keepAlive = new KeepAlive(
      limits,
      this.sender,
      () => this.streams.size > 0,
      () => this.onUnresponsive(),
    );
    this.recvWindow = limits.connectionWindow;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.on("drain", () => this.sender.drained());
    socket.on("error", (error) => this.lost(error.message));
    socket.on("end", () => this.lost("closed by the peer"));
    socket.on("close", () => this.lost("closed"));
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

  buffer(bytes: number, free: boolean): boolean {
    const { limits, received } = this;
    const buffered = this.buffered + bytes;
    const isTooMuch =
      buffered > limits.maxBufferedBytes || received.isExceeded(limits.maxBufferedTotal, buffered, bytes);
    if (isTooMuch && !free) return false;
    this.buffered = buffered;
    received.bytes += bytes;
    return true;
  }

  unbuffer(bytes: number): void {
    this.buffered -= bytes;
    this.received.bytes -= bytes;
  }

  /** Takes what the socket has read, instead of its `data` event; true when its memory may still be looked at afterwards. */
  take(chunk: Buffer): boolean {
    const { lends } = this;
    this.receive(chunk);
    return this.lends !== lends;
  }

  protected receive(chunk: Buffer): void {
    if (this.ended) return;
    this.chunks++;
    this.keepAlive.heard();
    try {
      this.reader.push(chunk);
      this.sender.settleWindows(this.streams);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      this.fail(error);
    }
  }

  // ---- sending

  protected sendSettings(extra: readonly (readonly [number, number])[]): void {
    const { limits, sender } = this;
    sender.settings([
      [Setting.INITIAL_WINDOW_SIZE, limits.streamWindow],
      [Setting.MAX_HEADER_LIST_SIZE, limits.maxHeaderBytes],
      ...extra,
    ]);
    sender.windowUpdate(0, limits.connectionWindow - DEFAULT_WINDOW);
  }

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
    this.sender.reset(streamId, code);
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
    this.streams.add(stream);
    this.keepAlive.busy();
  }

  protected sendGoaway(lastStream: number, code: ErrorCode, text = ""): void {
    this.sender.goaway(lastStream, code, text);
  }

  // ---- ending

  /** Ends the connection because the peer broke the protocol or a bound. */
  protected fail(error: ConnectionError): void {
    if (this.ended) return;
    this.sendGoaway(this.lastPeerStream, error.code, error.message);
    this.close(`${errorName(error.code)}: ${error.message}`);
  }

  /** The peer has not answered a ping. */
  protected onUnresponsive(): void {
    this.close("no answer to a ping");
    this.socket.destroy();
  }

  /** Writes what is collected and closes the socket. */
  protected close(reason: string): void {
    if (this.ended) return;
    this.sender.flush();
    this.socket.destroySoon();
    const timer = setTimeout(() => this.socket.destroy(), CLOSE_GRACE);
    this.socket.once("close", () => clearTimeout(timer));
    this.finish(reason);
  }

  private lost(reason: string): void {
    if (!this.ended) {
      this.sender.flush();
      this.finish(reason);
    }
    this.socket.destroySoon();
  }

  private finish(reason: string): void {
    this.ended = true;
    this.reader.stop();
    this.sender.stop();
    this.headerBlocks.stop();
    this.keepAlive.stop();
    this.pingAnswers.stop();
    for (const stream of this.streams) {
      this.remove(stream);
      stream.onAborted(undefined, reason);
    }
    this.onEnded(reason);
  }

  // ---- frames

  onDataFrame(flags: number, streamId: number, length: number, padding: number): void {
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
      this.sender.windowUpdate(0, this.consumed);
      this.consumed = 0;
    }
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
        if (length > padding) this.idleFrames.earn();
        else if (!this.dataEnds) this.idleFrames.add();
        if (padding > 0) stream.grant(padding);
      }
    }
  }

  onDataPiece(bytes: Buffer, start: number, end: number, last: boolean): void {
    const stream = this.dataStream;
    if (stream === undefined || stream.closed) return;
    if (end > start) {
      if (!stream.countBytes(end - start)) {
        this.resetByFault(stream, ErrorCode.PROTOCOL_ERROR, "more data than its content-length");
        return;
      }
      stream.receive(bytes, start, end);
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
      case FrameType.HEADERS: {
        const head = this.headerBlocks.headers(flags, streamId, bytes, start, end);
        if (head !== undefined) this.onHeaders(streamId, head, (flags & Flag.END_STREAM) !== 0);
        break;
      }
      case FrameType.CONTINUATION: {
        const head = this.headerBlocks.continuation(flags, bytes, start, end);
        if (head !== undefined) this.onHeaders(streamId, head, this.headerBlocks.ends);
        break;
      }
      case FrameType.PRIORITY:
        this.idleFrames.add();
        this.priority(streamId, bytes, start, end);
        break;
      case FrameType.RST_STREAM:
        this.reset(streamId, bytes, start, end);
        break;
      case FrameType.SETTINGS:
        // Each may be a change of all streams' windows.
        this.idleFrames.add(1 + (this.streams.size >>> STREAMS_PER_COST));
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

  /** Before the first settings there is no other frame. */
  private checkOrder(type: number, streamId: number): void {
    if (!this.settingsSeen) {
      if (type !== FrameType.SETTINGS) throw protocolError("the first frame is not SETTINGS");
      this.settingsSeen = true;
    }
    this.headerBlocks.checkOrder(type, streamId);
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
    this.sender.checkBacklog();
    this.sender.settingsAnswer();
    this.onSettings();
  }

  private setting(id: number, value: number): void {
    switch (id) {
      case Setting.HEADER_TABLE_SIZE:
        this.sender.setTableSize(value);
        break;
      case Setting.ENABLE_PUSH:
        if (value > 1) throw protocolError("SETTINGS_ENABLE_PUSH is neither 0 nor 1");
        break;
      case Setting.MAX_CONCURRENT_STREAMS:
        this.peerMaxStreams = value;
        break;
      case Setting.INITIAL_WINDOW_SIZE:
        this.sender.setInitialWindow(value);
        break;
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
      this.keepAlive.answered();
      if (bytes.readUInt32BE(start) !== LIFE_SIGN) this.onPong();
      return;
    }
    this.sender.checkBacklog();
    this.pingAnswers.add(bytes.readUInt32BE(start), bytes.readUInt32BE(start + 4));
  }

  private grant(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw frameSizeError("WINDOW_UPDATE");
    const increment = bytes.readUInt32BE(start) & MAX_WINDOW;
    if (streamId === 0) {
      this.idleFrames.add();
      this.sender.widen(increment);
      return;
    }
    if (this.isIdle(streamId)) throw protocolError("WINDOW_UPDATE of an idle stream");
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      this.idleFrames.add();
    } else if (increment === 0) {
      this.resetByFault(stream, ErrorCode.PROTOCOL_ERROR, "a window update of 0");
    } else if (this.sender.windowOf(stream) + increment > MAX_WINDOW) {
      this.resetByFault(stream, ErrorCode.FLOW_CONTROL_ERROR, "window too large");
    } else {
      // Tiny grants may not buy unbounded work.
      if (stream.pendingBytes === 0) this.idleFrames.add();
      this.sender.widenStream(stream, increment);
      this.sender.pump();
    }
  }

  /** A frame came for a stream that is gone. */
  protected late(streamId: number): void {
    this.idleFrames.add();
    this.sender.checkBacklog();
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

  settle(stream: Stream): void {
    if (stream.localEnded && stream.remoteEnded && !stream.closed && !stream.holding) this.remove(stream);
  }

  protected remove(stream: Stream): void {
    if (stream.closed) return;
    this.streams.delete(stream);
    stream.release();
    this.onStreamGone(stream);
  }
}
