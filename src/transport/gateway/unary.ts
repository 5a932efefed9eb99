import type { IncomingMessage, ServerResponse } from "node:http";
import type { UnaryHandler } from "../../rpc/call.js";
import { CallState } from "../../rpc/callState.js";
import { Code, StatusError } from "../../status/error.js";
import { tooLarge, unread } from "../limits.js";
import { deadlineOf, type Endpoint, HttpCarrier } from "./call.js";
import { encodeJson } from "./encode.js";
import { renderMessage, renderPieces } from "./render.js";
import { sendAscii, sendError } from "./responses.js";

/** Larger responses are rendered in pieces of about this many characters. */
const LARGE_BYTES = 256 * 1024;

/** A unary call over HTTP/1.1. */
export class HttpUnary extends HttpCarrier {
  readonly call: CallState;

  /** Throws INVALID_ARGUMENT when the header `Grpc-Timeout` is malformed. */
  constructor(
    endpoint: Endpoint,
    private readonly handler: UnaryHandler,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    const deadline = deadlineOf(request);
    super(endpoint, request, response);
    this.call = new CallState(endpoint.method.path, deadline, this, endpoint.deadlines);
  }

  /** Reads the body, then runs the handler. */
  start(): void {
    const { call } = this;
    this.readBody((error, text) => {
      // An expired deadline ends the call even if its timer has not fired yet.
      if (call.deadline <= Date.now()) call.expire();
      else if (error !== undefined) call.abort(error);
      else this.run(text);
    });
  }

  private run(text: string): void {
    let message: Uint8Array;
    try {
      message = encodeRequest(this.endpoint, text);
    } catch (reason) {
      this.call.abort(StatusError.from(reason));
      return;
    }
    this.handler(this.call, message, (error, answer) => {
      if (error !== undefined) this.call.fail(error);
      else if (this.call.finish()) this.respond(answer);
    });
  }

  private respond(answer: Uint8Array | undefined): void {
    const { response } = this.endpoint.method;
    const size = answer?.length ?? 0;
    if (this.isFull(size)) {
      this.fail(unread());
      return;
    }
    this.countResponse(size);
    try {
      if (answer === undefined) sendAscii(this.response, "{}");
      else if (answer.length <= LARGE_BYTES) sendAscii(this.response, renderMessage(response, answer));
      else this.sendPieces(renderPieces(response, answer, LARGE_BYTES));
    } catch {
      this.fail(unreadable());
    }
  }

  /** Sends a long list in pieces, letting other calls run between them and waiting for a slow client. */
  private sendPieces(pieces: Iterator<string, void>): void {
    const { response } = this;
    const next = (): void => {
      if (response.destroyed) return;
      let piece: IteratorResult<string, void>;
      try {
        piece = pieces.next();
      } catch {
        if (response.headersSent) response.destroy();
        else this.fail(unreadable());
        return;
      }
      if (piece.done) response.end();
      else if (response.write(piece.value, "latin1")) setImmediate(next);
      else response.once("drain", next);
    };
    response.setHeader("content-type", "application/json");
    next();
  }

  fail(error: StatusError): void {
    this.closeUnlessRead();
    sendError(this.response, error, this.call.path);
  }
}

/** Error for a handler's response that is not a message of its method. */
export function unreadable(): StatusError {
  return new StatusError(Code.INTERNAL, "etcd-braid: the response cannot be decoded");
}

/** Encodes a request's JSON text. Throws INVALID_ARGUMENT, or RESOURCE_EXHAUSTED when the message is too large. */
export function encodeRequest({ method, messageBytes }: Endpoint, text: string): Uint8Array {
  const message = encodeJson(method.request, text);
  if (message.length > messageBytes) throw tooLarge(message.length, messageBytes);
  return message;
}
