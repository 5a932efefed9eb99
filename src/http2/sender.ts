import type { Socket } from "node:net";
import type { SharedBytes } from "../stats/connections.js";
import { Fifo } from "../turn/fifo.js";
import { MESSAGE_PREFIX_BYTES } from "./grpc.js";
import { Block, HpackEncoder, type OutField } from "./hpack/encoder.js";
import { type ConnectionLimits, MAX_BACKLOG_BYTES } from "./limits.js";
import { Outbox } from "./outbox.js";
import {
  ConnectionError,
  DEFAULT_FRAME_SIZE,
  DEFAULT_WINDOW,
  ErrorCode,
  Flag,
  FrameType,
  MAX_WINDOW,
  protocolError,
} from "./protocol.js";
import type { Stream, StreamSender } from "./stream.js";
import type { StreamTable } from "./streamTable.js";

/**
 * The sending side of a connection. Data is sent as far as the peer's windows and the socket allow; other frames
 * never wait. Streams with queued data take turns, one frame each.
 */
export class Sender implements StreamSender {
  /** Data frames sent so far. */
  dataFrames = 0;
  /** The peer's SETTINGS_INITIAL_WINDOW_SIZE. */
  private initialWindow = DEFAULT_WINDOW;
  private windowsChanged = false;
  private queuedBytes = 0;
  private readonly outbox: Outbox;
  private readonly encoder = new HpackEncoder();
  private window = DEFAULT_WINDOW;
  private readonly waiting = new Fifo<Stream>();
  private pumping = false;
  private stopped = false;

  /** `queued` counts the bytes waiting to be sent, for all connections that share it. */
  constructor(
    socket: Socket,
    private readonly limits: ConnectionLimits,
    private readonly queued: SharedBytes,
  ) {
    this.outbox = new Outbox(socket);
  }

  /** Adds to the count of bytes that wait for flow control or for the socket. Negative when they no longer do. */
  countQueued(bytes: number): void {
    this.queuedBytes += bytes;
    this.queued.bytes += bytes;
  }

  get overfull(): boolean {
    const { queuedBytes, limits } = this;
    return queuedBytes > limits.maxQueuedBytes || this.queued.isExceeded(limits.maxQueuedTotal, queuedBytes);
  }

  /** Stops sending data. */
  stop(): void {
    this.stopped = true;
  }

  /** Writes the frames collected in this turn of the event loop. */
  flush(): void {
    this.outbox.flush();
  }

  /** Called when the system has taken all bytes. */
  drained(): void {
    this.outbox.taken();
    this.pump();
  }

  // ---- frames without flow control

  /** Sends raw bytes. */
  raw(bytes: Uint8Array): void {
    this.outbox.bytes(bytes);
  }

  settings(settings: readonly (readonly [id: number, value: number])[]): void {
    const { outbox } = this;
    outbox.frame(FrameType.SETTINGS, 0, 0, settings.length * 6);
    for (const [id, value] of settings) {
      outbox.uint16(id);
      outbox.uint32(value);
    }
  }

  settingsAck(): void {
    this.outbox.frame(FrameType.SETTINGS, Flag.ACK, 0, 0);
  }

  /** Sends a PING, or the ACK of the peer's. `mark` and `rest` are the halves of its eight bytes. */
  ping(mark: number, rest: number, ack: boolean): void {
    this.outbox.frame(FrameType.PING, ack ? Flag.ACK : 0, 0, 8);
    this.outbox.uint32(mark);
    this.outbox.uint32(rest);
  }

  goaway(lastStream: number, code: ErrorCode, text: string): void {
    const debug = Buffer.from(text);
    this.outbox.frame(FrameType.GOAWAY, 0, 0, 8 + debug.length);
    this.outbox.uint32(lastStream);
    this.outbox.uint32(code);
    this.outbox.bytes(debug);
  }

  reset(streamId: number, code: ErrorCode): void {
    this.outbox.frame(FrameType.RST_STREAM, 0, streamId, 4);
    this.outbox.uint32(code);
  }

  windowUpdate(streamId: number, bytes: number): void {
    if (bytes <= 0) return;
    this.outbox.frame(FrameType.WINDOW_UPDATE, 0, streamId, 4);
    this.outbox.uint32(bytes);
  }

  /** Encodes and sends a header block. Both happen here, since the peer must get blocks in the order of their encoding. */
  headers(streamId: number, fields: Block | readonly OutField[], ends: boolean): void {
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

  // ---- data

  /** Sends a message of `length` bytes in one frame. Returns false, and sends nothing, if it has to wait or be split. */
  sendNow(stream: Stream, parts: readonly Uint8Array[], length: number, ends: boolean): boolean {
    const size = length + MESSAGE_PREFIX_BYTES;
    if (size > this.windowOf(stream) || size > this.window || size > DEFAULT_FRAME_SIZE) return false;
    if (this.waiting.length > 0 || this.stopped) return false;
    const { outbox } = this;
    if (outbox.full) {
      // Flush first: an event for thousands of streams need not be queued in each. If that fails, streams take turns.
      outbox.relieve();
      if (outbox.full) return false;
    }
    stream.sendCredit -= size;
    this.window -= size;
    this.dataFrames++;
    outbox.message(ends ? Flag.END_STREAM : 0, stream.id, parts, length);
    if (ends) stream.endLocal();
    return true;
  }

  /** Ends our side of a stream that has nothing queued. */
  sendEnd(stream: Stream): void {
    const ending = stream.localEnding!;
    if (ending === "data") this.outbox.frame(FrameType.DATA, Flag.END_STREAM, stream.id, 0);
    else this.headers(stream.id, ending, true);
    stream.endLocal();
  }

  /** Queues a stream that has data to send, and sends as much as possible. */
  makeReady(stream: Stream): void {
    if (stream.ready || this.windowOf(stream) <= 0) return;
    stream.ready = true;
    this.waiting.push(stream);
    this.pump();
  }

  /** Sends queued data, one frame per stream in turn, as far as windows and the socket allow. */
  pump(): void {
    if (this.pumping || this.stopped) return;
    this.pumping = true;
    while (this.waiting.length > 0 && this.window > 0 && !this.outbox.full) this.sendFrame();
    this.pumping = false;
  }

  private sendFrame(): void {
    const stream = this.waiting.shift()!;
    stream.ready = false;
    const size = Math.min(stream.pendingBytes, DEFAULT_FRAME_SIZE, this.windowOf(stream), this.window);
    if (stream.closed || size <= 0) return;
    const last = size === stream.pendingBytes;
    const ends = last && stream.localEnding === "data";
    stream.sendCredit -= size;
    this.window -= size;
    this.dataFrames++;
    this.outbox.frame(FrameType.DATA, ends ? Flag.END_STREAM : 0, stream.id, size);
    stream.dequeue(size, (piece) => this.outbox.piece(piece));
    if (ends) stream.endLocal();
    else if (last && stream.localEnding !== undefined) this.sendEnd(stream);
    else if (!last && this.windowOf(stream) > 0) {
      stream.ready = true;
      this.waiting.push(stream);
    }
    if (!stream.closed) stream.sent();
  }

  // ---- flow control by the peer

  /** Widens the connection's window by `bytes`. Throws `ConnectionError` for 0 or a window beyond the maximum. */
  widen(bytes: number): void {
    if (bytes === 0) throw protocolError("a window update of 0");
    this.window += bytes;
    if (this.window > MAX_WINDOW) throw windowTooLarge();
    this.pump();
  }

  /** Bytes that may still be sent on a stream. Negative if the peer has shrunk the initial window below what was sent. */
  windowOf(stream: Stream): number {
    return stream.sendCredit + this.initialWindow;
  }

  /** Widens a stream's window by `bytes`. The caller calls `pump` to send data that waited for it. */
  widenStream(stream: Stream, bytes: number): void {
    stream.sendCredit += bytes;
    this.queueIfOpen(stream);
  }

  /**
   * Applies the peer's SETTINGS_INITIAL_WINDOW_SIZE, which also changes the windows of open streams. `settleWindows`
   * must follow in the same turn of the event loop.
   */
  setInitialWindow(size: number): void {
    if (size > MAX_WINDOW) throw windowTooLarge();
    if (size !== this.initialWindow) this.windowsChanged = true;
    this.initialWindow = size;
  }

  /**
   * Sends data that a larger initial window allows. It visits all streams once for all changes since the last
   * call: a peer with thousands of streams may send thousands of changes.
   */
  settleWindows(streams: StreamTable<Stream>): void {
    if (!this.windowsChanged) return;
    this.windowsChanged = false;
    streams.visitAll((stream) => this.queueIfOpen(stream));
    this.pump();
  }

  private queueIfOpen(stream: Stream): void {
    const window = this.windowOf(stream);
    if (window > MAX_WINDOW) throw windowTooLarge();
    if (window <= 0 || stream.pendingBytes === 0 || stream.ready) return;
    stream.ready = true;
    this.waiting.push(stream);
  }

  /** Applies the peer's SETTINGS_HEADER_TABLE_SIZE. */
  setTableSize(size: number): void {
    this.encoder.setMaxTableSize(size);
  }

  /** Throws ENHANCE_YOUR_CALM for a peer that causes answers without reading them. */
  checkBacklog(): void {
    if (this.outbox.backlog > MAX_BACKLOG_BYTES) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "answers are not read", "unread_answers");
    }
  }
}

function windowTooLarge(): ConnectionError {
  return new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "window too large");
}
