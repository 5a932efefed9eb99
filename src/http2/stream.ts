// Indices below are in range by construction; `!` keeps the hot loops free of checks.

import { lend } from "../turn/buffers.js";
import { Fifo } from "../turn/fifo.js";
import { MESSAGE_PREFIX_BYTES } from "./grpc.js";
import type { Block, OutField } from "./hpack/encoder.js";
import type { ConnectionLimits } from "./limits.js";
import { ErrorCode } from "./protocol.js";

/** How our side of a stream ends: with a header block, or on its last DATA frame. */
export type Ending = Block | readonly OutField[] | "data";

/** The part of its connection that a stream needs. */
export interface StreamConnection {
  readonly limits: ConnectionLimits;
  readonly sender: StreamSender;
  /** How many pieces of the socket's memory have been handed on without a copy. */
  handedOn: number;
  /** Counts memory held for the peer, in bytes. Returns false if that is too much, unless `free`. */
  buffer(bytes: number, free: boolean): boolean;
  /** Reverts `buffer`. */
  unbuffer(bytes: number): void;
  /** Resets a stream and calls its `onAborted`. */
  resetStream(stream: Stream, code: ErrorCode, reason: string): void;
  /** Resets a stream without calling `onAborted`. */
  abandon(stream: Stream, code: ErrorCode): void;
  /** Removes a stream if both its sides have ended. */
  settle(stream: Stream): void;
}

/** The part of its connection's `Sender` that a stream needs. */
export interface StreamSender {
  sendNow(stream: Stream, parts: readonly Uint8Array[], length: number, ends: boolean): boolean;
  sendEnd(stream: Stream): void;
  makeReady(stream: Stream): void;
  countQueued(bytes: number): void;
  windowUpdate(streamId: number, bytes: number): void;
  /** Sends a header block. */
  headers(streamId: number, fields: Block | readonly OutField[], ends: boolean): void;
  /** True for a peer that keeps sending requests without reading the answers. It gets no more answers. */
  readonly overfull: boolean;
}

const EMPTY = Buffer.alloc(0);

/**
 * One stream of gRPC messages on a connection. It assembles incoming messages, and queues outgoing ones while flow
 * control or a slow socket holds them up. Subclasses are the two ends of a call.
 */
export abstract class Stream {
  /**
   * Window for sending, in bytes, relative to the initial window: the peer can change that for all streams at
   * once, and often.
   */
  sendCredit = 0;
  /** Bytes that the peer may still send. */
  recvWindow: number;
  /** Bytes consumed but not granted to the peer again yet. */
  private consumed = 0;
  /** The peer has ended its side. */
  remoteEnded = false;
  /** How our side ends, once that has been queued or sent. */
  localEnding: Ending | undefined;
  /** Our side has ended on the wire. */
  localEnded = false;
  /** Removed from the connection: nothing more is sent or delivered. */
  closed = false;
  /** Whether it is in the sender's queue of streams with data to send. */
  ready = false;

  // Most streams are short: what only a few need is created on demand.
  private outgoing: Fifo<Uint8Array> | undefined;
  private outgoingBytes = 0;

  /** Delivery is paused. */
  private stopped = false;
  /** Held data is being read. */
  private resuming = false;
  /** Incoming data is dropped. */
  private deaf = false;
  /** Announced bytes still to come, or -1 if the length was not announced. */
  private expected = -1;
  /** Data that came while paused. */
  private held: Fifo<Buffer> | undefined;
  /** Bytes counted as buffered on the connection. */
  private buffered = 0;
  private prefix: Buffer | undefined;
  private prefixLength = 0;
  /** Length of the message being read, or -1. */
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

  /** Called first, when the stream is open. */
  abstract onOpen(): void;
  /** Called with each complete message. */
  protected abstract onMessageBytes(message: Buffer): void;
  /** Called when the peer has ended its side and all messages have been delivered. */
  protected abstract onRemoteEnd(): void;
  /** Called for a message of `size` bytes that is too large, compressed or, with size 0, cut off by the end of the stream. */
  protected abstract onBadMessage(problem: "too large" | "compressed" | "truncated", size: number): void;
  /** Called when the stream was reset, or without a code when the connection was lost, before both sides had ended. */
  abstract onAborted(code: ErrorCode | undefined, reason: string): void;
  /** Called when our side has ended on the wire before the peer's. */
  abstract onLocalEnd(): void;
  /** Called when queued bytes have been sent. */
  protected abstract onSent(): void;

  /** Bytes waiting for flow control or for the socket. */
  get pendingBytes(): number {
    return this.outgoingBytes;
  }

  get paused(): boolean {
    return this.stopped;
  }

  /** Pauses delivery. Further data fills the window, and then the peer stops. */
  pauseReading(): void {
    this.stopped = true;
  }

  /** Resumes delivery. */
  resumeReading(): void {
    if (!this.stopped) return;
    this.stopped = false;
    // Called while a held message is delivered: the loop below, further up the stack, continues.
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

  /** True while undelivered messages, or the undelivered end of the peer's side, are held. */
  get holding(): boolean {
    return this.stopped && this.remoteEnded && !this.deaf;
  }

  /** Drops all further data of the peer. */
  protected stopListening(): void {
    this.deaf = true;
    const { held } = this;
    if (held === undefined) return;
    for (let piece = held.shift(); piece !== undefined; piece = held.shift()) this.unbuffer(piece.length);
  }

  /** Sets the announced length of the body in bytes, from `content-length`; -1 without one. */
  expectBytes(length: number): void {
    this.expected = length;
  }

  /** Counts data. Returns false if it is more than announced. */
  countBytes(length: number): boolean {
    if (this.expected < 0) return true;
    this.expected -= length;
    return this.expected >= 0;
  }

  /** True if less data has come than announced. */
  get lacksBytes(): boolean {
    return this.expected > 0;
  }

  /** Takes data from the connection: `bytes[start, end)`. */
  receive(bytes: Buffer, start: number, end: number): void {
    if (this.deaf) return;
    if (this.stopped) this.hold(bytes.subarray(start, end), false);
    else this.read(bytes, start, end);
  }

  /** Takes the end of the peer's side. */
  receiveEnd(): void {
    this.remoteEnded = true;
    if (!this.stopped) this.finishReading();
  }

  /** Sends a message of `length` bytes, or queues it. */
  sendMessage(parts: readonly Uint8Array[], length: number): void {
    if (this.closed || this.localEnding !== undefined) return;
    if (this.outgoingBytes === 0 && this.connection.sender.sendNow(this, parts, length, false)) return;
    this.queue(parts, length);
  }

  /** Sends the last message, and ends our side with it. */
  sendLast(message: Uint8Array): void {
    if (this.closed || this.localEnding !== undefined) return;
    this.localEnding = "data";
    const parts = [message];
    if (this.outgoingBytes === 0 && this.connection.sender.sendNow(this, parts, message.length, true)) return;
    this.queue(parts, message.length);
  }

  /** Sends bytes that are not a gRPC message. */
  sendRaw(bytes: Uint8Array): void {
    this.outgoing ??= new Fifo();
    this.outgoing.push(bytes);
    this.outgoingBytes += bytes.length;
    this.connection.sender.countQueued(bytes.length);
    this.connection.sender.makeReady(this);
  }

  /** Ends our side, after all queued bytes. */
  endSending(ending: Ending): void {
    if (this.closed || this.localEnding !== undefined) return;
    this.localEnding = ending;
    if (this.outgoingBytes === 0) this.connection.sender.sendEnd(this);
  }

  /** Passes `length` queued bytes to `take`. There must be as many. */
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

  /** Called by the sender after `dequeue`. */
  sent(): void {
    this.onSent();
  }

  /** Called by the sender when our side has ended on the wire. */
  endLocal(): void {
    this.localEnded = true;
    this.connection.settle(this);
    if (!this.closed) this.onLocalEnd();
  }

  /** Called by the connection when it removes the stream. */
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
    const prefix = Buffer.allocUnsafe(MESSAGE_PREFIX_BYTES);
    prefix[0] = 0;
    prefix.writeUInt32BE(length, 1);
    this.outgoing ??= new Fifo();
    this.outgoing.push(prefix);
    for (const part of parts) if (part.length > 0) this.outgoing.push(part);
    this.outgoingBytes += MESSAGE_PREFIX_BYTES + length;
    this.connection.sender.countQueued(MESSAGE_PREFIX_BYTES + length);
    this.connection.sender.makeReady(this);
  }

  private finishReading(): void {
    if (this.closed || this.deaf) return;
    if (this.prefixLength > 0 || this.messageLength >= 0) this.onBadMessage("truncated", 0);
    else this.onRemoteEnd();
  }

  /** Holds a piece for later; `first`: before all others. */
  private hold(piece: Buffer, first: boolean): void {
    if (piece.length === 0 || !this.buffer(piece.length)) return;
    this.connection.handedOn++;
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
    if (this.prefixLength === 0 && end - at >= MESSAGE_PREFIX_BYTES) {
      flag = piece[at]!;
      size = piece.readUInt32BE(at + 1);
      at += MESSAGE_PREFIX_BYTES;
    } else {
      this.prefix ??= Buffer.alloc(MESSAGE_PREFIX_BYTES);
      this.prefix[this.prefixLength++] = piece[at++]!;
      if (this.prefixLength < MESSAGE_PREFIX_BYTES) return at;
      this.prefixLength = 0;
      flag = this.prefix[0]!;
      size = this.prefix.readUInt32BE(1);
    }
    if (flag !== 0) this.onBadMessage("compressed", size);
    else if (size > this.maxMessageBytes) this.onBadMessage("too large", size);
    else {
      this.messageLength = size;
      return at;
    }
    // The boundaries of further messages are unknown.
    this.stopListening();
    return end;
  }

  private readMessage(piece: Buffer, at: number, end: number): number {
    const { messageLength, messageHave } = this;
    const missing = messageLength - messageHave;
    const available = end - at;
    if (messageHave === 0 && available >= missing) {
      this.messageLength = -1;
      this.connection.handedOn++;
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

  /** Makes room for `wanted` bytes of the message. It doubles, so that a large announced size alone costs little. */
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

  /** Called when an incoming message exceeds the bounds on memory. */
  protected onNoMemory(): void {
    this.connection.resetStream(this, ErrorCode.ENHANCE_YOUR_CALM, "too many bytes of unfinished messages");
  }

  /**
   * Counts memory, in bytes, that is held until the stream is gone. Returns false if its connection holds too much,
   * unless `free`.
   */
  protected occupy(bytes: number, free = false): boolean {
    if (!this.connection.buffer(bytes, free)) return false;
    this.buffered += bytes;
    return true;
  }

  private unbuffer(length: number): void {
    this.connection.unbuffer(length);
    this.buffered -= length;
  }

  /** Lets the peer send `length` bytes more. Sends window updates in large steps. */
  grant(length: number): void {
    this.consumed += length;
    if (this.closed || this.remoteEnded || this.consumed * 2 < this.connection.limits.streamWindow) return;
    this.recvWindow += this.consumed;
    this.connection.sender.windowUpdate(this.id, this.consumed);
    this.consumed = 0;
  }
}
