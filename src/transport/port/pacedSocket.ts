import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";

/** Held bytes at which the socket is paused. Until then the end of the connection is noticed at once. */
const MAX_HELD_BYTES = 64 * 1024;
/** Memory of a held chunk on top of its bytes. */
const CHUNK_OVERHEAD_BYTES = 256;
/** How long a connection may stay paused without progress. Meanwhile nothing shows whether its client is still there. */
const STUCK_TIMEOUT_MS = 60_000;
/** Bytes passed on in one turn of the event loop. A JSON stream can have a message in every few of them. */
const TURN_BYTES = 8 * 1024;
const HEADERS_END = Buffer.from("\r\n\r\n");

type Written = (error?: Error | null) => void;

export interface PacedEvents {
  /** True while no further request should be read. Call `proceedLater` when it becomes false. */
  isBusy(): boolean;
  /** The connection is being closed because its client keeps sending without waiting for responses. */
  stuck(): void;
}

/**
 * A connection as Node's HTTP/1.1 server sees it. Node parses everything it reads, creates objects for each request in it,
 * and resumes a paused socket by itself. This stream passes bytes on only up to the end of one request's headers at a
 * time, and none while `isBusy`.
 */
export class PacedSocket extends Duplex {
  /** As on a `TLSSocket`. */
  readonly encrypted: boolean;
  private readonly held: Buffer[] = [];
  /** Size of `held`, with overhead. */
  private heldBytes = 0;
  private wanted = false;
  /** Bytes that may still be passed on in this turn. */
  private allowance = TURN_BYTES;
  private scheduled = false;
  private ended = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly events: PacedEvents,
  ) {
    // One piece at a time. Strings are not converted to buffers.
    super({ readableHighWaterMark: 1, decodeStrings: false });
    this.encrypted = (socket as Partial<TLSSocket>).encrypted === true;
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.on("end", () => {
      this.ended = true;
      this.proceed();
    });
    socket.on("close", () => this.destroy());
  }

  /** Takes bytes from the socket. */
  receive(chunk: Buffer): void {
    this.held.push(chunk);
    this.heldBytes += chunk.length + CHUNK_OVERHEAD_BYTES;
    if (!this.scheduled) this.proceed();
    if (this.heldBytes < MAX_HELD_BYTES) return;
    this.socket.pause();
    this.timer ??= setTimeout(() => {
      this.events.stuck();
      this.destroy();
    }, STUCK_TIMEOUT_MS).unref();
  }

  /** Passes on what may be passed on now. */
  private proceed(): void {
    if (this.destroyed) return;
    while (this.wanted) {
      const [chunk] = this.held;
      if (chunk === undefined || this.events.isBusy()) break;
      if (this.allowance <= 0) {
        this.proceedLater();
        break;
      }
      this.wanted = false;
      const piece = this.takePiece(chunk);
      this.allowance -= piece.length;
      this.timer?.refresh();
      this.push(piece);
    }
    if (this.ended && this.held.length === 0) this.push(null);
    if (this.timer === undefined || this.heldBytes >= MAX_HELD_BYTES) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.socket.resume();
  }

  /** Does the same in a later turn of the event loop, so that other connections get theirs. */
  proceedLater(): void {
    if (this.scheduled || (this.held.length === 0 && !this.ended)) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.allowance = TURN_BYTES;
      this.proceed();
    });
  }

  /** Address of the client, as that of a `Socket`. */
  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress;
  }

  /** Closes the connection when everything written has been sent. */
  destroySoon(): void {
    this.end(() => this.destroy());
  }

  override _read(): void {
    this.wanted = true;
    this.proceed();
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: Written): void {
    this.socket.write(chunk, encoding, done);
  }

  override _writev(
    chunks: readonly { chunk: Buffer | string; encoding: BufferEncoding }[],
    done: Written,
  ): void {
    const { socket } = this;
    const last = chunks.length - 1;
    socket.cork();
    for (const [i, { chunk, encoding }] of chunks.entries()) {
      socket.write(chunk, encoding, i === last ? done : undefined);
    }
    socket.uncork();
  }

  override _final(done: Written): void {
    this.socket.end(() => done());
  }

  override _destroy(error: Error | null, done: Written): void {
    clearTimeout(this.timer);
    this.held.length = 0;
    this.socket.destroy();
    done(error);
  }

  /** Removes and returns the beginning of `chunk`, the first one held, up to an end of headers. */
  private takePiece(chunk: Buffer): Buffer {
    const at = chunk.indexOf(HEADERS_END);
    const length = Math.min(at < 0 ? chunk.length : at + HEADERS_END.length, TURN_BYTES);
    this.heldBytes -= length;
    if (length < chunk.length) {
      this.held[0] = chunk.subarray(length);
      return chunk.subarray(0, length);
    }
    this.held.shift();
    this.heldBytes -= CHUNK_OVERHEAD_BYTES;
    return chunk;
  }
}
