import type { Socket } from "node:net";
import type { SharedBytes } from "../stats/connections.js";
import { FrameReader, type FrameSink } from "./frameReader.js";
import { HeaderBlocks } from "./headerBlock.js";
import { HpackDecoder } from "./hpack/decoder.js";
import type { Field } from "./hpack/table.js";
import { KEEPALIVE_PING, KeepAlive } from "./keepAlive.js";
import { type ConnectionLimits, IdleFrames, Resets } from "./limits.js";
import { PingAcks } from "./pingAcks.js";
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
import { Sender } from "./sender.js";
import type { Stream, StreamConnection } from "./stream.js";
import { StreamTable } from "./streamTable.js";

/** Most streams to remember as reset by us: frames for them may still be in flight. */
const MAX_REMEMBERED_RESETS = 1_000;
/** SETTINGS count as one more idle frame for each 2^n streams. */
const SETTINGS_COST_SHIFT = 8;
/** How long a peer may take to read the rest before a closed connection is destroyed. */
const CLOSE_TIMEOUT_MS = 1_000;

/** Memory that several connections share. */
export interface SharedMemory {
  /** Messages waiting to be sent. */
  readonly queued: SharedBytes;
  /** Messages received. */
  readonly received: SharedBytes;
}

/**
 * One end of an HTTP/2 connection: frames, header blocks, settings, flow control and keep-alive. `H` is a parsed
 * header block (see `HpackDecoder`).
 */
export abstract class Connection<H> implements FrameSink, StreamConnection {
  readonly streams = new StreamTable<Stream>();
  readonly sender: Sender;
  /** The peer's SETTINGS_MAX_CONCURRENT_STREAMS. */
  protected peerMaxStreams = Number.POSITIVE_INFINITY;
  handedOn = 0;
  protected readonly idleFrames: IdleFrames;
  /** Highest id of a stream that the peer has opened. */
  protected lastPeerStream = 0;
  /** Nothing more is read or written. The socket is closed or about to be. */
  protected ended = false;
  /** Number of chunks read from the socket. */
  protected chunks = 0;

  /** Bytes of incomplete and undelivered messages and of calls in progress. `received` also counts them. */
  private buffered = 0;
  private readonly received: SharedBytes;
  private readonly reader: FrameReader;
  private readonly headerBlocks: HeaderBlocks<H>;
  private readonly keepAlive: KeepAlive;
  private readonly pingAcks: PingAcks;
  private readonly resets = new Resets();
  private readonly resetIds = new Set<number>();
  private recvWindow: number;
  private consumed = 0;
  private settingsSeen = false;
  /** The stream of the current DATA frame; undefined if its data is dropped. */
  private dataStream: Stream | undefined;
  /** Whether the current DATA frame ends its stream. */
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
    this.pingAcks = new PingAcks(this.sender);
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

  /** Called with each complete header block. */
  protected abstract onHeaders(streamId: number, head: H, ends: boolean): void;
  protected abstract onGoaway(lastStream: number, code: number, text: string): void;
  /** Called when a stream has ended for any reason. */
  protected abstract onStreamGone(stream: Stream): void;
  /** Called once, when the connection and all its streams have ended. */
  protected abstract onEnded(reason: string): void;
  /** Called when the peer's settings have been applied. */
  protected abstract onSettings(): void;
  /** Called for the ACK of a ping, except those of keep-alive. */
  protected abstract onPong(): void;
  /** Whether the stream has never been used. */
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

  /** Takes a chunk that was read past the socket's `data` event. Returns true if its memory may be used later. */
  take(chunk: Buffer): boolean {
    const { handedOn } = this;
    this.receive(chunk);
    return this.handedOn !== handedOn;
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

  abandon(stream: Stream, code: ErrorCode): void {
    if (stream.closed) return;
    this.writeReset(stream.id, code);
    this.remove(stream);
  }

  protected writeReset(streamId: number, code: ErrorCode): void {
    this.sender.reset(streamId, code);
    if (this.resetIds.size >= MAX_REMEMBERED_RESETS) {
      for (const oldest of this.resetIds) {
        this.resetIds.delete(oldest);
        break;
      }
    }
    this.resetIds.add(streamId);
  }

  /** Adds a stream. */
  protected add(stream: Stream): void {
    this.streams.add(stream);
    this.keepAlive.busy();
  }

  protected sendGoaway(lastStream: number, code: ErrorCode, text = ""): void {
    this.sender.goaway(lastStream, code, text);
  }

  // ---- ending

  /** Ends the connection because the peer violated the protocol or exceeded a bound. */
  protected fail(error: ConnectionError): void {
    if (this.ended) return;
    this.sendGoaway(this.lastPeerStream, error.code, error.message);
    this.close(`${errorName(error.code)}: ${error.message}`);
  }

  /** Ends the connection because the peer has not answered a ping. */
  protected onUnresponsive(): void {
    this.close("no answer to a ping");
    this.socket.destroy();
  }

  /** Writes the collected frames and closes the socket. */
  protected close(reason: string): void {
    if (this.ended) return;
    this.sender.flush();
    this.socket.destroySoon();
    const timer = setTimeout(() => this.socket.destroy(), CLOSE_TIMEOUT_MS);
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
    this.pingAcks.stop();
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
    // Granted again at once: the streams' windows and `maxBufferedBytes` bound what is held.
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
        if (length > padding) this.idleFrames.forgive();
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
        // Each may change the windows of all streams.
        this.idleFrames.add(1 + (this.streams.size >>> SETTINGS_COST_SHIFT));
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
        // Unknown types are ignored, but counted.
        this.idleFrames.add();
    }
  }

  /** Throws if the frame may not come now. */
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
      this.resetByFault(stream, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY with a wrong length");
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
    this.sender.settingsAck();
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
        // Ignored: larger frames would only hold up other streams.
        break;
    }
  }

  private ping(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw protocolError("PING on a stream");
    if (end - start !== 8) throw frameSizeError("PING");
    if (flags & Flag.ACK) {
      this.keepAlive.answered();
      if (bytes.readUInt32BE(start) !== KEEPALIVE_PING) this.onPong();
      return;
    }
    this.sender.checkBacklog();
    this.pingAcks.add(bytes.readUInt32BE(start), bytes.readUInt32BE(start + 4));
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
      // Bounds the work that tiny window updates can cause.
      if (stream.pendingBytes === 0) this.idleFrames.add();
      this.sender.widenStream(stream, increment);
      this.sender.pump();
    }
  }

  /** Handles a frame for a stream that is gone. */
  protected late(streamId: number): void {
    this.idleFrames.add();
    this.sender.checkBacklog();
    if (!this.resetIds.has(streamId)) this.writeReset(streamId, ErrorCode.STREAM_CLOSED);
  }

  /** Whether we have reset the stream recently. */
  protected wasReset(streamId: number): boolean {
    return this.resetIds.has(streamId);
  }

  /** Counts a stream that ended by a reset. Throws ENHANCE_YOUR_CALM if there are too many. */
  protected countReset(): void {
    this.resets.add();
  }

  /** Resets a stream because the peer violated the protocol on it. */
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
