import type { IncomingMessage, ServerResponse } from "node:http";
import { type StreamCarrier, StreamState } from "../../rpc/streamState.js";
import { StatusError } from "../../status/error.js";
import { Fifo } from "../../turn/fifo.js";
import { joined } from "../joined.js";
import { tooLarge } from "../limits.js";
import { deadlineOf, type Endpoint, HttpCarrier } from "./call.js";
import { renderMessage } from "./render.js";
import { httpStatus, sendError, streamError } from "./responses.js";
import { JsonSplitter } from "./splitter.js";
import { encodeRequest, unreadable } from "./unary.js";

/** Memory of a waiting message on top of its bytes. */
const MESSAGE_OVERHEAD_BYTES = 128;

/**
 * A stream over HTTP/1.1. The body is a sequence of messages; responses are lines `{"result":…}`. The end of the body ends
 * only the client's half, so a watch goes on.
 */
export class HttpStream extends HttpCarrier implements StreamCarrier {
  readonly call: StreamState;
  private readonly splitter = new JsonSplitter();
  /** Messages that arrived while the handler had paused. */
  private readonly waiting = new Fifo<Uint8Array>();
  /** Size of `waiting`, with overhead. */
  private waitingBytes = 0;
  private paused = false;
  /** The client's half is over, by its end or by an error. */
  private inputOver = false;
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
        else if (this.take(text)) this.endInput();
      });
      return;
    }
    request.on("data", (chunk: Buffer) => {
      if (!this.call.over && !this.inputOver) this.takeAll(this.splitter.push(chunk));
    });
    request.on("end", () => {
      const rest = this.splitter.end();
      if (rest === undefined || this.take(rest)) this.endInput();
    });
  }

  get queuedBytes(): number {
    return this.response.writableLength;
  }

  write(parts: readonly Uint8Array[]): void {
    let text: string;
    try {
      text = renderMessage(this.endpoint.method.response, joined(parts));
    } catch {
      this.call.abort(unreadable());
      return;
    }
    this.head(200);
    const line = `{"result":${text}}\n`;
    this.countResponse(line.length);
    this.response.write(line, "latin1", () => {
      this.countResponse(-line.length);
      this.call.taken();
    });
  }

  get isOverfull(): boolean {
    return this.isFull(0);
  }

  pause(): void {
    this.paused = true;
    this.request.pause();
  }

  resume(): void {
    this.paused = false;
    this.deliver();
    if (!this.paused) this.request.resume();
  }

  complete(): void {
    this.head(200);
    this.response.end();
  }

  fail(error: StatusError): void {
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

  private takeAll(texts: readonly string[]): void {
    for (const text of texts) if (!this.take(text)) return;
    const size = this.splitter.pendingBytes;
    if (size <= this.endpoint.textBytes) {
      this.countRequest(size + this.waitingBytes);
      return;
    }
    this.splitter.end();
    this.refuse(tooLarge(size, this.endpoint.messageBytes));
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
    this.waiting.push(message);
    this.waitingBytes += message.length + MESSAGE_OVERHEAD_BYTES;
    this.deliver();
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
    if (this.inputOver) return;
    this.inputOver = true;
    this.deliver();
  }

  private deliver(): void {
    const { call } = this;
    while (!this.paused && !call.over) {
      const message = this.waiting.shift();
      if (message === undefined) break;
      this.waitingBytes -= message.length + MESSAGE_OVERHEAD_BYTES;
      call.deliver(message);
    }
    if (!this.inputOver || this.endDelivered || this.waitingBytes > 0 || this.paused) return;
    this.endDelivered = true;
    call.deliverEnd();
  }
}
