import type { Socket } from "node:net";
import { SharedBytes } from "../stats/connections.js";
import { Code } from "../status/error.js";
import { Fifo } from "../turn/fifo.js";
import { Connection } from "./connection.js";
import { Block, type OutField } from "./hpack/encoder.js";
import type { ConnectionLimits } from "./limits.js";
import { ErrorCode, errorName, MAX_WINDOW, PREFACE, protocolError, Setting } from "./protocol.js";
import { type ResponseHead, readResponse } from "./response.js";
import { Stream } from "./stream.js";

/** How a call ended. */
export interface CallStatus {
  /** gRPC status code. */
  readonly code: number;
  readonly details: string;
  /**
   * `answered`: the server answered. `unsent`: the server has certainly not processed the request. `lost`: the
   * server may or may not have processed it.
   */
  readonly fate: "answered" | "unsent" | "lost";
}

export interface CallEvents {
  /** Called with each message, whose memory may be shared. */
  message(message: Buffer): void;
  /** Called once, after all messages, unless the call was cancelled. Never called before `begin` has returned. */
  ended(status: CallStatus): void;
}

/** Metadata to send. Encoded blocks are cached per object, so reuse objects. */
export type RequestMetadata = Readonly<Record<string, string>>;

export interface ClientEvents {
  /** The server's settings have come: calls can begin. */
  ready(): void;
  /** Headers or a message came for a call. */
  heard(): void;
  /** The server accepts no new calls. Calls in flight go on. */
  draining(): void;
  /** The connection has ended. */
  closed(reason: string): void;
}

const NO_METADATA: RequestMetadata = {};
/** Most header blocks cached per connection for each metadata object, and most such objects. */
const MAX_BLOCKS = 256;

/** The client's end of a connection. */
export class ClientConnection extends Connection<ResponseHead> {
  private nextId = 1;
  private isReady = false;
  private isDraining = false;
  /** The value of `chunks` at the latest `heard`. */
  private heardIn = 0;
  private readonly queue = new Fifo<ClientCall>();
  private readonly blocks = new Map<RequestMetadata, Map<string, Block>>();

  /** `socket` must be connected. `authority` is the `:authority` of all calls. */
  constructor(
    socket: Socket,
    limits: ConnectionLimits,
    private readonly authority: string,
    private readonly userAgent: string,
    private readonly events: ClientEvents,
    /** Incomplete answers of all connections that share it. */
    received = new SharedBytes(),
  ) {
    super(socket, limits, readResponse, { queued: new SharedBytes(), received });
    this.sender.raw(PREFACE);
    this.sendSettings([[Setting.ENABLE_PUSH, 0]]);
  }

  /** True if calls can begin. */
  get ready(): boolean {
    return this.isReady && !this.isDraining && !this.ended;
  }

  /** Begins a call. At the server's limit of streams, it waits for others to end. */
  begin(path: string, metadata: RequestMetadata | undefined, events: CallEvents): ClientCall {
    const call = new ClientCall(this, path, metadata ?? NO_METADATA, events);
    if (!this.ready) process.nextTick(() => call.onRefused("the connection is closing"));
    else if (this.streams.size < this.peerMaxStreams && this.queue.length === 0) this.start(call);
    else this.queue.push(call);
    return call;
  }

  /** Closes the connection once all calls in flight have ended. */
  drain(): void {
    if (this.isDraining) return;
    this.isDraining = true;
    this.closeIfDone();
  }

  /** Ends the connection and all calls at once. */
  destroy(reason: string): void {
    this.close(reason);
    this.socket.destroy();
  }

  /** Reports a sign of life, once per chunk from the socket. */
  heard(): void {
    if (this.heardIn === this.chunks) return;
    this.heardIn = this.chunks;
    this.events.heard();
  }

  private start(call: ClientCall): void {
    const id = this.nextId;
    this.nextId += 2;
    call.id = id;
    this.add(call);
    this.sender.headers(id, this.block(call.path, call.metadata), false);
    call.onOpen();
    if (this.nextId > MAX_WINDOW && !this.isDraining) {
      this.isDraining = true;
      this.events.draining();
    }
  }

  private block(path: string, metadata: RequestMetadata): Block {
    let paths = this.blocks.get(metadata);
    if (paths === undefined) {
      if (this.blocks.size >= MAX_BLOCKS) this.blocks.clear();
      paths = new Map();
      this.blocks.set(metadata, paths);
    }
    let block = paths.get(path);
    if (block === undefined) {
      if (paths.size >= MAX_BLOCKS) paths.clear();
      block = new Block(this.fields(path, metadata));
      paths.set(path, block);
    }
    return block;
  }

  private fields(path: string, metadata: RequestMetadata): OutField[] {
    const repeats = true;
    return [
      { name: ":method", value: "POST" },
      { name: ":scheme", value: "encrypted" in this.socket ? "https" : "http" },
      { name: ":path", value: path, repeats },
      { name: ":authority", value: this.authority, repeats },
      { name: "te", value: "trailers", repeats },
      { name: "content-type", value: "application/grpc", repeats },
      { name: "user-agent", value: this.userAgent, repeats },
      // There are many tokens: they must not evict the fields of all calls from the peer's table.
      ...Object.entries(metadata).map(([name, value]) => ({ name, value, repeats: name !== "token" })),
    ];
  }

  protected isIdle(streamId: number): boolean {
    return streamId >= this.nextId || streamId % 2 === 0;
  }

  protected onHeaders(streamId: number, head: ResponseHead, ends: boolean): void {
    this.idleFrames.forgive();
    const call = this.streams.get(streamId) as ClientCall | undefined;
    if (call === undefined) {
      if (this.isIdle(streamId)) throw protocolError(`HEADERS on stream ${streamId}`);
      this.late(streamId);
      return;
    }
    if (call.remoteEnded) {
      this.resetByFault(call, ErrorCode.STREAM_CLOSED, "trailers after its end");
      return;
    }
    call.receiveHead(head, ends);
    this.settle(call);
  }

  protected onGoaway(lastStream: number, code: number, text: string): void {
    const reason =
      code === ErrorCode.NO_ERROR
        ? "the server is closing the connection"
        : `GOAWAY ${errorName(code)} ${text}`;
    this.isDraining = true;
    for (const call of this.streams as Iterable<ClientCall>) {
      if (call.id <= lastStream || call.closed) continue;
      this.remove(call);
      call.onRefused(reason);
    }
    this.refuseQueued(reason);
    this.events.draining();
    this.closeIfDone();
  }

  protected onStreamGone(): void {
    while (this.queue.length > 0 && this.ready && this.streams.size < this.peerMaxStreams) {
      const call = this.queue.shift()!;
      if (!call.closed) this.start(call);
    }
    this.closeIfDone();
  }

  protected onSettings(): void {
    if (!this.isReady) {
      this.isReady = true;
      this.events.ready();
    }
    this.onStreamGone();
  }

  protected onPong(): void {}

  protected onEnded(reason: string): void {
    this.refuseQueued(reason);
    this.events.closed(reason);
  }

  private refuseQueued(reason: string): void {
    for (let call = this.queue.shift(); call !== undefined; call = this.queue.shift()) call.onRefused(reason);
  }

  private closeIfDone(): void {
    if (this.isDraining && this.streams.size === 0) this.close("drained");
  }
}

/** The client's end of one call, unary or streaming. */
export class ClientCall extends Stream {
  private headSeen = false;
  private trailers: ResponseHead | undefined;
  private over = false;
  /** Messages sent before the stream was open. */
  private early: Uint8Array[] | undefined;
  private earlyEnd = false;
  private opened = false;

  constructor(
    private readonly client: ClientConnection,
    readonly path: string,
    readonly metadata: RequestMetadata,
    private readonly events: CallEvents,
  ) {
    super(client, 0, Number.POSITIVE_INFINITY);
  }

  /** Sends a message. */
  send(message: Uint8Array): void {
    if (this.opened) this.sendMessage([message], message.length);
    else if (!this.over) {
      this.early ??= [];
      this.early.push(message);
    }
  }

  /** Sends the last message. */
  sendAndEnd(message: Uint8Array): void {
    if (this.opened) this.sendLast(message);
    else {
      this.send(message);
      this.earlyEnd = true;
    }
  }

  /** Pauses delivery of messages. */
  pause(): void {
    this.pauseReading();
  }

  /** Resumes delivery of messages. */
  resume(): void {
    this.resumeReading();
  }

  /** Cancels the call at the server. No more events are delivered. */
  cancel(): void {
    if (this.over) return;
    this.over = true;
    this.early = undefined;
    if (this.opened) this.connection.abandon(this, ErrorCode.CANCEL);
    else this.closed = true;
  }

  onOpen(): void {
    this.opened = true;
    const messages = this.early;
    this.early = undefined;
    messages?.forEach((message, i) => {
      if (this.earlyEnd && i === messages.length - 1) this.sendLast(message);
      else this.sendMessage([message], message.length);
    });
  }

  /** Takes a header block: the response's first one, or its trailers. */
  receiveHead(head: ResponseHead, ends: boolean): void {
    this.client.heard();
    if (head.malformed) {
      this.failLocally(Code.INTERNAL, "malformed response headers");
      return;
    }
    if (!ends) {
      if (this.headSeen) this.failLocally(Code.INTERNAL, "trailers that do not end the stream");
      else if (head.httpStatus >= 100 && head.httpStatus < 200) return;
      else if (head.httpStatus !== 200 || !head.isGrpc) {
        this.failLocally(httpCode(head.httpStatus), `not gRPC: HTTP status ${head.httpStatus}`);
      }
      this.headSeen = true;
      return;
    }
    this.trailers = head;
    this.receiveEnd();
  }

  /** Ends the call, which the server has not processed. */
  onRefused(reason: string): void {
    this.closed = true;
    this.end({ code: Code.UNAVAILABLE, details: reason, fate: "unsent" });
  }

  onAborted(code: ErrorCode | undefined, reason: string): void {
    if (code === ErrorCode.REFUSED_STREAM) this.onRefused("the server refused the stream");
    else this.end({ code: resetCode(code), details: reason, fate: "lost" });
  }

  onLocalEnd(): void {}

  protected onMessageBytes(message: Buffer): void {
    this.client.heard();
    if (!this.over) this.events.message(message);
  }

  protected onRemoteEnd(): void {
    const { trailers } = this;
    if (trailers === undefined || (trailers.code < 0 && trailers.httpStatus === 0)) {
      this.end({
        code: Code.INTERNAL,
        details: "the server ended the stream without a status",
        fate: "answered",
      });
    } else if (trailers.code < 0) {
      const { httpStatus } = trailers;
      this.end({
        code: httpCode(httpStatus),
        details: `not gRPC: HTTP status ${httpStatus}`,
        fate: "answered",
      });
    } else {
      this.end({ code: trailers.code, details: trailers.message, fate: "answered" });
    }
    // The server will not read the rest of our side.
    if (!this.localEnded) this.connection.abandon(this, ErrorCode.CANCEL);
  }

  protected onBadMessage(problem: "too large" | "compressed" | "truncated"): void {
    this.failLocally(Code.INTERNAL, `a ${problem} message from the server`);
  }

  protected override onNoMemory(): void {
    const text = "too many large answers are in flight; if this was a write, it may have taken effect";
    this.failLocally(Code.RESOURCE_EXHAUSTED, text);
  }

  protected onSent(): void {}

  private failLocally(code: number, details: string): void {
    this.connection.abandon(this, ErrorCode.CANCEL);
    this.end({ code, details, fate: "answered" });
  }

  private end(status: CallStatus): void {
    if (this.over) return;
    this.over = true;
    this.early = undefined;
    this.events.ended(status);
  }
}

/** Maps an HTTP status to a gRPC code, as gRPC specifies (http-grpc-status-mapping.md). */
function httpCode(status: number): Code {
  switch (status) {
    case 400:
      return Code.INTERNAL;
    case 401:
      return Code.UNAUTHENTICATED;
    case 403:
      return Code.PERMISSION_DENIED;
    case 404:
      return Code.UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
      return Code.UNAVAILABLE;
    default:
      return Code.UNKNOWN;
  }
}

/** Maps the code of a reset to a gRPC code, as gRPC specifies (PROTOCOL-HTTP2.md). Undefined is a lost connection. */
function resetCode(code: ErrorCode | undefined): Code {
  switch (code) {
    case undefined:
      return Code.UNAVAILABLE;
    case ErrorCode.CANCEL:
      return Code.CANCELLED;
    case ErrorCode.ENHANCE_YOUR_CALM:
      return Code.RESOURCE_EXHAUSTED;
    case ErrorCode.INADEQUATE_SECURITY:
      return Code.PERMISSION_DENIED;
    default:
      return Code.INTERNAL;
  }
}
