import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";

/** Held bytes at which the socket is paused. Until then the end of the connection is noticed at once. */
const MAX_HELD = 64 * 1024;
/** What a held chunk costs on top of its bytes. */
const CHUNK_COST = 256;
/** How long a connection may stay paused with nothing handed over, ms: nobody can see whether its client is still there. */
const STUCK_MS = 60_000;
/** Bytes handed over in one turn of the event loop: a JSON stream can hold a message in every few of them. */
const TURN_BYTES = 8 * 1024;
const HEADERS_END = Buffer.from("\r\n\r\n");

type Written = (error?: Error | null) => void;

export interface PacedEvents {
  /** True while no further request is to be read. Call `proceedLater` when that has changed. */
  isBusy(): boolean;
  /** The connection is closed because its client sends on and on without waiting for answers. */
  stuck(): void;
}

/**
 * A connection as Node's HTTP/1.1 server sees it. Node parses everything that it is given, makes objects for each request
 * in it, and resumes a paused socket by itself. So the bytes come from here: up to the end of one request's headers at
 * a time, and none while `isBusy`.
 */
export class PacedSocket extends Duplex {
  /** As on a TLS socket. */
  readonly encrypted: boolean;
  private readonly held: Buffer[] = [];
  private heldCost = 0;
  private wanted = false;
  /** What may still be handed over in this turn, bytes. */
  private allowance = TURN_BYTES;
  private scheduled = false;
  private ended = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly events: PacedEvents,
  ) {
    // One piece at a time; strings go through as they are.
    super({ readableHighWaterMark: 1, decodeStrings: false });
    this.encrypted = (socket as Partial<TLSSocket>).encrypted === true;
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.on("end", () => {
      this.ended = true;
      this.proceed();
    });
    socket.on("close", () => this.destroy());
  }

  /** Bytes that came from the socket. */
  receive(chunk: Buffer): void {
    this.held.push(chunk);
    this.heldCost += chunk.length + CHUNK_COST;
    if (!this.scheduled) this.proceed();
    if (this.heldCost < MAX_HELD) return;
    this.socket.pause();
    this.timer ??= setTimeout(() => {
      this.events.stuck();
      this.destroy();
    }, STUCK_MS).unref();
  }

  /** Hands over what may be handed over now. */
  private proceed(): void {
    if (this.destroyed) return;
    while (this.wanted && this.held.length > 0 && !this.events.isBusy()) {
      if (this.allowance <= 0) {
        this.proceedLater();
        break;
      }
      this.wanted = false;
      const piece = this.nextPiece();
      this.allowance -= piece.length;
      this.timer?.refresh();
      this.push(piece);
    }
    if (this.ended && this.held.length === 0) this.push(null);
    if (this.timer === undefined || this.heldCost >= MAX_HELD) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.socket.resume();
  }

  /** The same in a later turn of the event loop, so that other connections get theirs. */
  proceedLater(): void {
    if (this.scheduled || (this.held.length === 0 && !this.ended)) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.allowance = TURN_BYTES;
      this.proceed();
    });
  }

  /** Closes the connection when all that was written has left. */
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

  /** The first of what is held, up to an end of headers. */
  private nextPiece(): Buffer {
    const chunk = this.held[0];
    const at = chunk.indexOf(HEADERS_END);
    const length = Math.min(at < 0 ? chunk.length : at + HEADERS_END.length, TURN_BYTES);
    this.heldCost -= length;
    if (length < chunk.length) {
      this.held[0] = chunk.subarray(length);
      return chunk.subarray(0, length);
    }
    this.held.shift();
    this.heldCost -= CHUNK_COST;
    return chunk;
  }
}
