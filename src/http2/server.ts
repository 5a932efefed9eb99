import type { Socket } from "node:net";
import { Connection, type SharedMemory } from "./connection.js";
import type { ConnectionLimits } from "./limits.js";
import { ConnectionError, ErrorCode, MAX_WINDOW, PREFACE, protocolError, Setting } from "./protocol.js";
import { type RequestHead, readRequest } from "./request.js";
import type { Stream } from "./stream.js";

/** How long a client may take to send the preface and its settings. */
const BEGIN_TIMEOUT_MS = 20_000;
/** First half of the payload of the ping that `drain` sends. */
const DRAIN_PING = 1;

/** The server that connections belong to. */
export interface ServerSide extends SharedMemory {
  /** Returns the stream for a new request. */
  accept(connection: ServerConnection, id: number, head: RequestHead): Stream;
  onClosed(connection: ServerConnection): unknown;
  /** The connection ends because the client violated the protocol, exceeded a bound, or is unresponsive. */
  onFault(error: ConnectionError): void;
  /** A stream was refused because the connection was at its limit. */
  onStreamRefused(): void;
}

/** The server's end of a connection. */
export class ServerConnection extends Connection<RequestHead> {
  /** Bytes of the preface received. */
  private preface = 0;
  private readonly beginTimer: NodeJS.Timeout;
  private draining = false;
  /** Streams with a higher id are ignored. */
  private lastServed = MAX_WINDOW;

  constructor(
    socket: Socket,
    limits: ConnectionLimits,
    private readonly side: ServerSide,
  ) {
    super(socket, limits, readRequest, side);
    this.sendSettings([[Setting.MAX_CONCURRENT_STREAMS, limits.maxStreams]]);
    this.beginTimer = setTimeout(() => this.fail(protocolError("no settings")), BEGIN_TIMEOUT_MS).unref();
  }

  /**
   * Shuts down gracefully: closes once all streams have ended. Streams that the client opens before it has seen the
   * GOAWAY are still served.
   */
  drain(): void {
    if (this.draining || this.ended) return;
    this.draining = true;
    this.sendGoaway(MAX_WINDOW, ErrorCode.NO_ERROR);
    this.sender.ping(DRAIN_PING, 0, false);
  }

  /** True once `drain` was called. */
  get isDraining(): boolean {
    return this.draining;
  }

  /** Ends the connection at once. */
  destroy(reason: string): void {
    this.close(reason);
    this.socket.destroy();
  }

  /** Takes data from the client. The port also calls it, with data that it has read before. */
  override receive(chunk: Buffer): void {
    if (this.preface === PREFACE.length) {
      super.receive(chunk);
      return;
    }
    if (this.ended) return;
    const take = Math.min(PREFACE.length - this.preface, chunk.length);
    if (PREFACE.compare(chunk, 0, take, this.preface, this.preface + take) !== 0) {
      this.fail(protocolError("not HTTP/2"));
      return;
    }
    this.preface += take;
    if (this.preface < PREFACE.length) return;
    if (take < chunk.length) super.receive(chunk.subarray(take));
  }

  protected override fail(error: ConnectionError): void {
    if (!this.ended) this.side.onFault(error);
    super.fail(error);
  }

  protected override onUnresponsive(): void {
    this.side.onFault(new ConnectionError(ErrorCode.NO_ERROR, "no answer to a ping", "unresponsive"));
    super.onUnresponsive();
  }

  protected isIdle(streamId: number): boolean {
    return streamId > this.lastPeerStream || streamId % 2 === 0;
  }

  protected onHeaders(id: number, head: RequestHead, ends: boolean): void {
    const open = this.streams.get(id);
    if (open !== undefined) {
      this.trailers(open, head, ends);
      return;
    }
    if (id % 2 === 0) throw protocolError(`a client's stream with the even id ${id}`);
    if (id <= this.lastPeerStream) {
      if (this.wasReset(id)) {
        this.idleFrames.add();
        return;
      }
      if (id === this.lastPeerStream)
        throw new ConnectionError(ErrorCode.STREAM_CLOSED, `stream ${id} has ended`);
      throw protocolError(`stream ${id} after stream ${this.lastPeerStream}`);
    }
    this.lastPeerStream = id;
    this.idleFrames.forgive();
    if (id > this.lastServed) return;
    // Refusals are cheap for a flooding client, so it must at least read them.
    this.sender.checkBacklog();
    if (this.streams.size >= this.limits.maxStreams) {
      this.side.onStreamRefused();
      this.refuse(id, ErrorCode.REFUSED_STREAM);
    } else if (isMalformed(head, ends)) {
      this.refuse(id, ErrorCode.PROTOCOL_ERROR);
    } else {
      const stream = this.side.accept(this, id, head);
      stream.expectBytes(head.contentLength);
      this.begin(stream, ends);
    }
  }

  private begin(stream: Stream, ends: boolean): void {
    this.add(stream);
    stream.remoteEnded = ends;
    stream.onOpen();
    if (!ends || stream.closed) return;
    stream.receiveEnd();
    this.settle(stream);
  }

  /** Resets a stream that was never opened. */
  private refuse(id: number, code: ErrorCode): void {
    this.idleFrames.add();
    this.countReset();
    this.sender.checkBacklog();
    this.writeReset(id, code);
  }

  private trailers(stream: Stream, head: RequestHead, ends: boolean): void {
    if (stream.remoteEnded) {
      this.resetByFault(stream, ErrorCode.STREAM_CLOSED, "trailers after its end");
    } else if (!ends || head.hasPseudo || head.malformed !== undefined) {
      this.resetByFault(stream, ErrorCode.PROTOCOL_ERROR, "malformed trailers");
    } else {
      stream.receiveEnd();
      this.settle(stream);
    }
  }

  protected onGoaway(): void {
    // The client opens no more streams, and closes the connection itself.
  }

  protected onSettings(): void {
    clearTimeout(this.beginTimer);
  }

  protected onPong(): void {
    if (!this.draining || this.ended) return;
    // All that the client sent before it saw the GOAWAY has arrived.
    this.lastServed = this.lastPeerStream;
    this.sendGoaway(this.lastServed, ErrorCode.NO_ERROR);
    this.closeIfDone();
  }

  protected onStreamGone(): void {
    this.closeIfDone();
  }

  protected onEnded(): void {
    clearTimeout(this.beginTimer);
    this.side.onClosed(this);
  }

  private closeIfDone(): void {
    if (this.streams.size === 0 && this.lastServed !== MAX_WINDOW) this.close("drained");
  }
}

function isMalformed(head: RequestHead, ends: boolean): boolean {
  if (head.tooLarge) return false;
  return head.malformed !== undefined || !head.hasPseudo || (ends && head.contentLength > 0);
}
