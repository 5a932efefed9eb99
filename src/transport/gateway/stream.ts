import type { IncomingMessage, ServerResponse } from "node:http";
import { type StreamCarrier, StreamState } from "../../rpc/streamState.js";
import { StatusError } from "../../status/error.js";
import { Fifo } from "../../turn/fifo.js";
import { joined } from "../joined.js";
import { tooLarge } from "../limits.js";
import { deadlineOf, type Endpoint, HttpCarrier } from "./call.js";
import { renderMessage } from "./render.js";
import { httpStatus, sendError, streamError } from "./responses.js";
import { type Rotating, UNIT_BYTES } from "./rotation.js";
import { JsonSplitter } from "./splitter.js";
import { encodeRequest, unreadable } from "./unary.js";

/** Memory of a chunk on top of its bytes. */
const CHUNK_OVERHEAD_BYTES = 128;
/** Most bytes of input that may wait. Above it, the body is not read. */
const MAX_WAITING_BYTES = 16 * 1024;
/** Responses of one tick are written together up to about this size. */
const MAX_LINES_BYTES = 64 * 1024;

/**
 * A stream over HTTP/1.1. The body is a sequence of messages; responses are lines `{"result":…}`. The end of the body ends
 * only the client's half, so a watch goes on.
 */
export class HttpStream extends HttpCarrier implements StreamCarrier, Rotating {
  readonly call: StreamState;
  private readonly splitter = new JsonSplitter();
  /** What has arrived of the body. It is split only when its messages can be delivered: as bytes, they take less memory. */
  private readonly chunks = new Fifo<Buffer>();
  /** Size of `chunks`, with overhead. */
  private chunkBytes = 0;
  /** Returns the last message of the body; set once the body has ended. */
  private last: (() => string | undefined) | undefined;
  /** The handler has paused the stream. */
  private paused = false;
  /** The body is not read. */
  private held = false;
  /** The client's half is over, by its end or by an error. */
  private inputOver = false;
  /** Responses of this tick. Each write costs more than the responses in it. */
  private lines = "";
  /** Number of messages. */
  private received = 0;
  /** The handler has learned that the client's half is over. */
  private endDelivered = false;

  /** Throws INVALID_ARGUMENT when the header `Grpc-Timeout` is malformed. */
  constructor(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse) {
    const deadline = deadlineOf(request);
    super(endpoint, request, response);
    const { method, highWaterBytes, deadlines } = endpoint;
    this.call = new StreamState(method.path, deadline, this, highWaterBytes, deadlines);
  }

  /** Starts to read the body. The handler must have set its listeners. */
  start(): void {
    const { request } = this;
    if (!this.endpoint.method.requestStream) {
      this.readBody((error, text) => {
        if (error !== undefined) this.refuse(error);
        else this.bodyEnded(() => text);
      });
      return;
    }
    request.on("data", (chunk: Buffer) => {
      if (this.call.over || this.inputOver) return;
      this.chunks.push(chunk);
      this.chunkBytes += chunk.length + CHUNK_OVERHEAD_BYTES;
      this.enter();
    });
    request.on("end", () => this.bodyEnded(() => this.splitter.end()));
  }

  get queuedBytes(): number {
    return this.response.writableLength + this.lines.length;
  }

  write(parts: readonly Uint8Array[]): void {
    let text: string;
    try {
      text = renderMessage(this.endpoint.method.response, joined(parts));
    } catch {
      this.call.abort(unreadable());
      return;
    }
    const line = `{"result":${text}}\n`;
    this.countResponse(line.length);
    if (this.lines === "") process.nextTick(() => this.flush());
    this.lines += line;
    if (this.lines.length > MAX_LINES_BYTES) this.flush();
  }

  private flush(): void {
    const { lines } = this;
    if (lines === "") return;
    this.lines = "";
    this.head(200);
    this.response.write(lines, "latin1", () => {
      this.countResponse(-lines.length);
      this.call.taken();
    });
  }

  get isOverfull(): boolean {
    return this.isFull(0);
  }

  pause(): void {
    this.paused = true;
    this.regulate();
  }

  resume(): void {
    this.paused = false;
    if (this.inputOver) this.deliverEnd();
    this.enter();
  }

  complete(): void {
    this.flush();
    this.head(200);
    this.response.end();
  }

  fail(error: StatusError): void {
    this.flush();
    const { response } = this;
    const { path } = this.call;
    if (this.received === 0 && !response.headersSent) {
      this.closeUnlessRead();
      sendError(response, error, path);
      return;
    }
    this.head(httpStatus(error, path));
    response.end(streamError(error, path));
  }

  private head(status: number): void {
    if (this.response.headersSent) return;
    if (this.call.over) this.closeUnlessRead();
    this.response.writeHead(status, { "content-type": "application/json" });
  }

  get hasMore(): boolean {
    if (this.paused || this.inputOver || this.call.over) return false;
    return this.chunks.length > 0 || this.splitter.leftBytes > 0 || this.last !== undefined;
  }

  advance(most: number): number {
    const { splitter } = this;
    let cost = 0;
    while (cost < most && this.hasMore) {
      if (splitter.leftBytes === 0 && !this.nextChunk()) break;
      const before = splitter.leftBytes;
      const text = splitter.next();
      cost += (before - splitter.leftBytes) / UNIT_BYTES;
      if (text !== undefined) {
        cost++;
        this.take(text);
      } else if (splitter.pendingBytes > this.endpoint.textBytes) {
        this.refuse(tooLarge(splitter.pendingBytes, this.endpoint.messageBytes));
      }
    }
    this.regulate();
    return cost;
  }

  private enter(): void {
    if (this.hasMore) this.endpoint.rotation.enter(this);
    this.regulate();
  }

  /** Gives the splitter the next chunk. Without one, the body has ended: takes the rest of it, and returns false. */
  private nextChunk(): boolean {
    const chunk = this.chunks.shift();
    if (chunk !== undefined) {
      this.chunkBytes -= chunk.length + CHUNK_OVERHEAD_BYTES;
      this.splitter.push(chunk);
      return true;
    }
    const rest = this.last?.();
    if (rest === undefined || this.take(rest)) this.endInput();
    return false;
  }

  /** Counts what waits, and reads on only when that is not too much. */
  private regulate(): void {
    if (this.inputOver || this.call.over) this.drop();
    const waiting = this.chunkBytes + this.splitter.leftBytes;
    this.countRequest(waiting + this.splitter.pendingBytes);
    const held = !this.call.over && (this.paused || waiting > MAX_WAITING_BYTES);
    if (held === this.held) return;
    this.held = held;
    if (held) this.request.pause();
    else this.request.resume();
  }

  /** Forgets the input that nothing will take. */
  private drop(): void {
    this.chunks.clear();
    this.chunkBytes = 0;
    this.splitter.end();
  }

  private bodyEnded(last: () => string | undefined): void {
    this.last = last;
    this.enter();
  }

  /** Takes one JSON value of the body. Returns false if the rest of the body is to be ignored. */
  private take(text: string): boolean {
    if (this.call.over || this.inputOver) return false;
    let message: Uint8Array;
    try {
      message = encodeRequest(this.endpoint, text);
    } catch (reason) {
      this.refuse(StatusError.from(reason));
      return false;
    }
    this.received++;
    this.call.deliver(message);
    return true;
  }

  /** Stops reading the body: fails the call at the first message, and ends the client's half at a later one. */
  private refuse(error: StatusError): void {
    if (this.call.over || this.inputOver) return;
    if (this.received > 0) {
      this.endInput();
      return;
    }
    this.call.abort(error);
  }

  private endInput(): void {
    this.inputOver = true;
    this.deliverEnd();
  }

  private deliverEnd(): void {
    if (this.endDelivered || this.paused) return;
    this.endDelivered = true;
    this.call.deliverEnd();
  }
}
