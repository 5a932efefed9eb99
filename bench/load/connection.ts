import { connect, type Socket } from "node:net";
import { frames, plainHead, RequestHead } from "./frames.js";

/** Events of one request's stream. */
export interface StreamEvents {
  /** Bytes of the response's body, in order. They are reused after the call, so do not keep them. */
  data(chunk: Buffer): void;
  /** The server has ended the stream. Called once. */
  end(): void;
}

const DEFAULT_WINDOW_BYTES = 65_535;
/** Bytes that a server may send ahead: so many that flow control never delays it. No stream receives more than this. */
const RECEIVE_WINDOW = 2 ** 31 - 1;
const REFILL = 2 ** 28;
const PING = Buffer.alloc(8);

/**
 * A minimal gRPC connection for a load generator, which shares the machine with the servers and must cost little. Requests are
 * encoded in advance, and all requests of one turn are sent in one write. Headers of responses are not decoded. Ends with an
 * error if the server sends something unsupported.
 */
export class Connection {
  private readonly streams = new Map<number, StreamEvents>();
  private readonly head: RequestHead;
  private readonly authority: string;
  private nextStream = 1;
  private rest: Buffer | undefined;
  private queue: Buffer[] = [];
  private flushing = false;
  /** Requests that wait for the server's window, in order. */
  private readonly held: [stream: number, body: Uint8Array, last: boolean][] = [];
  private sendWindow = DEFAULT_WINDOW_BYTES;
  private received = 0;
  private settled: (() => void) | undefined;
  private closed = false;

  private constructor(
    private readonly socket: Socket,
    path: string,
    private readonly onError: (error: Error) => void,
  ) {
    this.authority = `127.0.0.1:${socket.remotePort}`;
    this.head = new RequestHead(path, this.authority);
  }

  /**
   * Connects to a server on the loopback interface, for requests to one method. Resolves when the server's settings have
   * arrived. Calls `onError` if the connection is lost later.
   */
  static open(port: number, path: string, onError: (error: Error) => void): Promise<Connection> {
    return new Promise((resolve, reject) => {
      let fail = reject;
      const socket = connect({ port, host: "127.0.0.1", noDelay: true });
      socket.once("error", (error) => fail(error));
      socket.once("connect", () => {
        const connection = new Connection(socket, path, (error) => fail(error));
        connection.settled = () => {
          fail = onError;
          resolve(connection);
        };
        connection.begin();
      });
    });
  }

  /** Sends a request that consists of one message. `body` must not change until it is sent. */
  request(body: Uint8Array, events: StreamEvents): void {
    this.send(this.start(events), body, true);
  }

  /** Opens a stream that stays open for `send`: to the connection's method, or to `path`. */
  start(events: StreamEvents, path?: string): number {
    const stream = this.nextStream;
    this.nextStream += 2;
    this.streams.set(stream, events);
    this.write(path === undefined ? this.head.encode(stream) : plainHead(stream, path, this.authority));
    return stream;
  }

  /** Asks the server for a sign of life, which is ignored. */
  ping(): void {
    this.write(frames.ping(PING));
  }

  /** Sends one message (with its gRPC prefix) on a stream; `last` ends our side of it. */
  send(stream: number, body: Uint8Array, last: boolean): void {
    if (this.held.length > 0 || body.length > this.sendWindow) {
      this.held.push([stream, body, last]);
      return;
    }
    this.sendWindow -= body.length;
    this.write(frames.data(stream, body, last));
  }

  /** Stops reading: the client is too slow. */
  pause(): void {
    this.socket.pause();
  }

  close(): void {
    this.closed = true;
    this.socket.destroy();
  }

  private begin(): void {
    this.socket.on("data", (chunk) => this.take(chunk));
    this.socket.once("close", () => this.fail("the server has closed the connection"));
    this.write(frames.preface(RECEIVE_WINDOW));
    this.write(frames.windowUpdate(RECEIVE_WINDOW - DEFAULT_WINDOW_BYTES));
  }

  private fail(reason: string): void {
    if (this.closed) return;
    this.close();
    this.onError(new Error(reason));
  }

  private write(bytes: Buffer): void {
    this.queue.push(bytes);
    if (this.flushing) return;
    this.flushing = true;
    // After the turn's other work, so that its requests are included.
    process.nextTick(() => {
      this.flushing = false;
      const { queue } = this;
      this.queue = [];
      if (!this.closed) this.socket.write(queue.length === 1 ? queue[0] : Buffer.concat(queue));
    });
  }

  private take(chunk: Buffer): void {
    const bytes = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    while (bytes.length - at >= frames.HEAD) {
      const end = at + frames.HEAD + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      this.frame(bytes[at + 3], bytes[at + 4], bytes.readUInt32BE(at + 5), bytes, at + frames.HEAD, end);
      if (this.closed) return;
      at = end;
    }
    this.rest = at === bytes.length ? undefined : bytes.subarray(at);
  }

  private frame(type: number, flags: number, stream: number, bytes: Buffer, from: number, to: number): void {
    switch (type) {
      case frames.DATA:
        this.account(to - from);
        if (flags & frames.PADDED) {
          this.fail("padded data is not supported");
          break;
        }
        this.streams.get(stream)?.data(bytes.subarray(from, to));
        if (flags & frames.END_STREAM) this.end(stream);
        break;
      case frames.HEADERS:
        if (flags & frames.END_STREAM) this.end(stream);
        break;
      case frames.RST_STREAM:
        this.end(stream);
        break;
      case frames.SETTINGS:
        if (!(flags & frames.ACK)) this.settings(bytes, from, to);
        break;
      case frames.PING:
        if (!(flags & frames.ACK)) this.write(frames.pingAnswer(bytes.subarray(from, to)));
        break;
      case frames.GOAWAY:
        this.fail(`the server goes away: ${bytes.toString("latin1", from + 8, to)}`);
        break;
      case frames.WINDOW_UPDATE:
        if (stream === 0) this.release(bytes.readUInt32BE(from));
        break;
    }
  }

  /** Of the server's settings, only the size of its header table matters: it must hold our few headers. */
  private settings(bytes: Buffer, from: number, to: number): void {
    for (let at = from; at < to; at += 6) {
      if (bytes.readUInt16BE(at) === 1 && bytes.readUInt32BE(at + 2) < 1024) {
        this.fail("a header table below 1024 bytes is not supported");
        return;
      }
    }
    this.write(frames.settingsAnswer());
    this.settled?.();
    this.settled = undefined;
  }

  private end(stream: number): void {
    const events = this.streams.get(stream);
    this.streams.delete(stream);
    events?.end();
  }

  /** Refills the connection's window for the received bytes. */
  private account(length: number): void {
    this.received += length;
    if (this.received < REFILL) return;
    this.write(frames.windowUpdate(this.received));
    this.received = 0;
  }

  private release(increment: number): void {
    this.sendWindow += increment;
    while (this.held.length > 0 && this.held[0][1].length <= this.sendWindow) {
      const [stream, body, last] = this.held.shift()!;
      this.sendWindow -= body.length;
      this.write(frames.data(stream, body, last));
    }
  }
}
