import { lend } from "../turn/buffers.js";
import { Fifo } from "../turn/fifo.js";
import type { Block, OutField } from "./hpack/encoder.js";
import type { ConnectionLimits } from "./limits.js";
import { ErrorCode } from "./protocol.js";

/** How a stream's sending side ends. */
export type Ending = Block | readonly OutField[] | "data";

/** What a stream needs of the connection that it belongs to. */
export interface StreamConnection {
  readonly limits: ConnectionLimits;
  readonly sender: StreamSender;
  /** How many times a part of what came from the socket was handed on as it is. */
  lends: number;
  /** Counts bytes that are to be held for the peer; false when it has too many and they are not `free`. */
  buffer(bytes: number, free: boolean): boolean;
  /** Bytes that `buffer` has counted are held no more. */
  unbuffer(bytes: number): void;
  /** Resets a stream, and calls its `onAborted` with the reason. */
  resetStream(stream: Stream, code: ErrorCode, reason: string): void;
  /** Resets a stream without a word to its owner. */
  abandon(stream: Stream, code: ErrorCode): void;
  /** Removes a stream both of whose sides have ended. */
  settle(stream: Stream): void;
}

/** What a stream needs of its connection's `Sender`. */
export interface StreamSender {
  sendNow(stream: Stream, parts: readonly Uint8Array[], length: number, ends: boolean): boolean;
  sendEnd(stream: Stream): void;
  makeReady(stream: Stream): void;
  countQueued(bytes: number): void;
  windowUpdate(streamId: number, bytes: number): void;
  /** Sends a header block: call it right after the block was made, for the order in which blocks are encoded counts. */
  headers(streamId: number, fields: Block | readonly OutField[], ends: boolean): void;
  /** The peer asks on and on but does not read: it gets no more answers. */
  readonly overfull: boolean;
}

const EMPTY = Buffer.alloc(0);
const PREFIX = 5;

/**
 * One stream of gRPC messages on a connection: puts incoming messages together, and holds outgoing ones while flow
 * control or a slow socket makes them wait. Subclasses are the ends of calls.
 */
export abstract class Stream {
  /**
   * Bytes that may still be sent, less those that each stream may begin with: the peer may change that for all streams, as
   * often as it likes.
   */
  sendCredit = 0;
  /** Bytes that the peer may still send, and those consumed but not yet granted again. */
  recvWindow: number;
  private consumed = 0;
  /** The peer has ended its side. */
  remoteEnded = false;
  /** The end of our side has been queued or sent. */
  localEnding: Ending | undefined;
  localEnded = false;
  /** Gone from the connection: nothing is sent or delivered any more. */
  closed = false;
  /** In the connection's list of streams that have something to send. */
  ready = false;

  // Most streams are short: what few of them need is made when they need it.
  private outgoing: Fifo<Uint8Array> | undefined;
  private outgoingBytes = 0;

  private stopped = false;
  /** What was held is being read. */
  private resuming = false;
  private deaf = false;
  private expected = -1;
  private held: Fifo<Buffer> | undefined;
  /** Bytes counted as buffered on the connection. */
  private buffered = 0;
  private prefix: Buffer | undefined;
  private prefixLength = 0;
  /** Length of the message that is being read, or -1. */
  private messageLength = -1;
  private message: Buffer = EMPTY;
  private messageHave = 0;

  constructor(
    protected readonly connection: StreamConnection,
    public id: number,
    private readonly maxMessageBytes: number,
  ) {
    this.recvWindow = connection.limits.streamWindow;
  }

  /** The stream has been taken in; called before anything else. */
  abstract onOpen(): void;
  /** A complete message. */
  protected abstract onMessageBytes(message: Buffer): void;
  /** The peer has ended its side and everything before has been delivered. */
  protected abstract onRemoteEnd(): void;
  /** The message that comes is larger than the limit, or compressed, or the stream ended inside of one. */
  protected abstract onBadMessage(problem: "too large" | "compressed" | "truncated", size: number): void;
  /** The stream has gone before both sides had ended: reset by the peer, or the connection was lost. */
  abstract onAborted(code: ErrorCode | undefined, reason: string): void;
  /** Our side has ended on the wire, the peer's has not. */
  abstract onLocalEnd(): void;
  /** Some of the queued bytes have been sent. */
  protected abstract onSent(): void;

  /** Bytes that wait for flow control or for the socket. */
  get pendingBytes(): number {
    return this.outgoingBytes;
  }

  get paused(): boolean {
    return this.stopped;
  }

  /** Stops delivery; the window closes with what the peer sends on. */
  pauseReading(): void {
    this.stopped = true;
  }

  resumeReading(): void {
    if (!this.stopped) return;
    this.stopped = false;
    // Who gets a message may stop and go on at once: then the reading of its piece just goes on.
    if (this.resuming) return;
    this.resuming = true;
    while (!this.stopped && !this.closed) {
      const piece = this.held?.shift();
      if (piece === undefined) break;
      this.unbuffer(piece.length);
      this.read(piece, 0, piece.length);
    }
    this.resuming = false;
    if (!this.remoteEnded || this.stopped || this.closed) return;
    this.finishReading();
    this.connection.settle(this);
  }

  /** Messages have come that are not delivered yet, or the end of the peer's side. */
  get holding(): boolean {
    return this.stopped && this.remoteEnded && !this.deaf;
  }

  /** What the peer still sends is dropped. */
  protected stopListening(): void {
    this.deaf = true;
    const { held } = this;
    if (held === undefined) return;
    for (let piece = held.shift(); piece !== undefined; piece = held.shift()) this.unbuffer(piece.length);
  }

  /** Announces the length of the body, as `content-length` tells; -1 when it does not. */
  expectBytes(length: number): void {
    this.expected = length;
  }

  /** Counts data; false when it is more than was announced. */
  countBytes(length: number): boolean {
    if (this.expected < 0) return true;
    this.expected -= length;
    return this.expected >= 0;
  }

  /** True when less data has come than was announced. */
  get lacksBytes(): boolean {
    return this.expected > 0;
  }

  /** Data as it comes from the connection: `bytes[start, end)`. */
  receive(bytes: Buffer, start: number, end: number): void {
    if (this.deaf) return;
    if (this.stopped) this.hold(bytes.subarray(start, end), false);
    else this.read(bytes, start, end);
  }

  /** The peer has ended its side. */
  receiveEnd(): void {
    this.remoteEnded = true;
    if (!this.stopped) this.finishReading();
  }

  /** Sends one message; it waits its turn if it has to. */
  sendMessage(parts: readonly Uint8Array[], length: number): void {
    if (this.closed || this.localEnding !== undefined) return;
    if (this.outgoingBytes === 0 && this.connection.sender.sendNow(this, parts, length, false)) return;
    this.queue(parts, length);
  }

  /** The same as `sendMessage`, and our side ends with it. */
  sendLast(message: Uint8Array): void {
    if (this.closed || this.localEnding !== undefined) return;
    this.localEnding = "data";
    const parts = [message];
    if (this.outgoingBytes === 0 && this.connection.sender.sendNow(this, parts, message.length, true)) return;
    this.queue(parts, message.length);
  }

  /** Sends bytes that are no gRPC message. */
  sendRaw(bytes: Uint8Array): void {
    this.outgoing ??= new Fifo();
    this.outgoing.push(bytes);
    this.outgoingBytes += bytes.length;
    this.connection.sender.countQueued(bytes.length);
    this.connection.sender.makeReady(this);
  }

  /** Ends our side, after everything that is queued. */
  endSending(ending: Ending): void {
    if (this.closed || this.localEnding !== undefined) return;
    this.localEnding = ending;
    if (this.outgoingBytes === 0) this.connection.sender.sendEnd(this);
  }

  /** Moves up to `length` queued bytes to `take`. */
  dequeue(length: number, take: (piece: Uint8Array) => void): void {
    const outgoing = this.outgoing!;
    let left = length;
    while (left > 0) {
      const piece = outgoing.peek()!;
      if (piece.length <= left) {
        outgoing.shift();
        take(piece);
        left -= piece.length;
      } else {
        take(piece.subarray(0, left));
        outgoing.replaceFirst(piece.subarray(left));
        left = 0;
      }
    }
    this.outgoingBytes -= length;
    this.connection.sender.countQueued(-length);
  }

  /** Called by the connection after `dequeue`. */
  sent(): void {
    this.onSent();
  }

  /** Our side has ended on the wire. */
  endLocal(): void {
    this.localEnded = true;
    this.connection.settle(this);
    if (!this.closed) this.onLocalEnd();
  }

  /** Called by the connection when it lets go of the stream. */
  release(): void {
    this.closed = true;
    this.outgoing = undefined;
    if (this.outgoingBytes > 0) this.connection.sender.countQueued(-this.outgoingBytes);
    this.outgoingBytes = 0;
    this.held = undefined;
    this.message = EMPTY;
    this.connection.unbuffer(this.buffered);
    this.buffered = 0;
  }

  private queue(parts: readonly Uint8Array[], length: number): void {
    const prefix = Buffer.allocUnsafe(PREFIX);
    prefix[0] = 0;
    prefix.writeUInt32BE(length, 1);
    this.outgoing ??= new Fifo();
    this.outgoing.push(prefix);
    for (const part of parts) if (part.length > 0) this.outgoing.push(part);
    this.outgoingBytes += PREFIX + length;
    this.connection.sender.countQueued(PREFIX + length);
    this.connection.sender.makeReady(this);
  }

  private finishReading(): void {
    if (this.closed || this.deaf) return;
    if (this.prefixLength > 0 || this.messageLength >= 0) this.onBadMessage("truncated", 0);
    else this.onRemoteEnd();
  }

  /** Keeps a piece for later; `first`: it comes before all that is kept already. */
  private hold(piece: Buffer, first: boolean): void {
    if (piece.length === 0 || !this.buffer(piece.length)) return;
    this.connection.lends++;
    this.held ??= new Fifo();
    if (first) this.held.unshift(piece);
    else this.held.push(piece);
  }

  private read(piece: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end && !this.closed && !this.deaf) {
      if (this.stopped) {
        this.hold(piece.subarray(at, end), true);
        break;
      }
      if (this.messageLength < 0) {
        at = this.readPrefix(piece, at, end);
        if (this.messageLength !== 0) continue;
      }
      at = this.readMessage(piece, at, end);
    }
    this.grant(at - start);
  }

  private readPrefix(piece: Buffer, start: number, end: number): number {
    let at = start;
    let flag: number;
    let size: number;
    if (this.prefixLength === 0 && end - at >= PREFIX) {
      flag = piece[at];
      size = piece.readUInt32BE(at + 1);
      at += PREFIX;
    } else {
      this.prefix ??= Buffer.alloc(PREFIX);
      this.prefix[this.prefixLength++] = piece[at++];
      if (this.prefixLength < PREFIX) return at;
      this.prefixLength = 0;
      flag = this.prefix[0];
      size = this.prefix.readUInt32BE(1);
    }
    if (flag !== 0) this.onBadMessage("compressed", size);
    else if (size > this.maxMessageBytes) this.onBadMessage("too large", size);
    else {
      this.messageLength = size;
      return at;
    }
    // Whatever follows cannot be told apart any more.
    this.stopListening();
    return end;
  }

  private readMessage(piece: Buffer, at: number, end: number): number {
    const { messageLength, messageHave } = this;
    const missing = messageLength - messageHave;
    const available = end - at;
    if (messageHave === 0 && available >= missing) {
      this.messageLength = -1;
      this.connection.lends++;
      this.onMessageBytes(piece.subarray(at, at + missing));
      return at + missing;
    }
    const take = available < missing ? available : missing;
    if (!this.buffer(take)) return end;
    this.room(messageHave + take);
    piece.copy(this.message, messageHave, at, at + take);
    this.messageHave += take;
    if (take === missing) {
      const { message } = this;
      this.message = EMPTY;
      this.messageHave = 0;
      this.messageLength = -1;
      this.unbuffer(messageLength);
      this.onMessageBytes(message);
    }
    return at + take;
  }

  /** Makes room for `wanted` bytes of the message; doubles, so that what a peer only announces costs little. */
  private room(wanted: number): void {
    if (this.message.length >= wanted) return;
    const { messageRoom } = this.connection.limits;
    const size = Math.min(this.messageLength, Math.max(wanted, 2 * this.message.length, messageRoom));
    const larger = size === this.messageLength ? lend(size) : Buffer.allocUnsafeSlow(size);
    this.message.copy(larger, 0, 0, this.messageHave);
    this.message = larger;
  }

  private buffer(length: number): boolean {
    const { freeMessageBytes } = this.connection.limits;
    if (this.occupy(length, freeMessageBytes > 0 && this.messageLength <= freeMessageBytes)) return true;
    this.onNoMemory();
    return false;
  }

  /** There is no memory for the message that comes. */
  protected onNoMemory(): void {
    this.connection.resetStream(this, ErrorCode.ENHANCE_YOUR_CALM, "too many bytes of unfinished messages");
  }

  /** Counts memory that is held for this stream until it is gone; false when its connection has too much, unless `free`. */
  protected occupy(bytes: number, free = false): boolean {
    if (!this.connection.buffer(bytes, free)) return false;
    this.buffered += bytes;
    return true;
  }

  private unbuffer(length: number): void {
    this.connection.unbuffer(length);
    this.buffered -= length;
  }

  /** Lets the peer send `length` bytes more; told in large steps. */
  grant(length: number): void {
    this.consumed += length;
    if (this.closed || this.remoteEnded || this.consumed * 2 < this.connection.limits.streamWindow) return;
    this.recvWindow += this.consumed;
    this.connection.sender.windowUpdate(this.id, this.consumed);
    this.consumed = 0;
  }
}
