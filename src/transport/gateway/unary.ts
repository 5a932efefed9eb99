import type { IncomingMessage, ServerResponse } from "node:http";
import type { UnaryHandler } from "../../rpc/call.js";
import { CallState } from "../../rpc/callState.js";
import { Code, StatusError } from "../../status/error.js";
import { tooLarge, unread } from "../limit.js";
import { sendAscii, sendError } from "./answers.js";
import { deadlineOf, type Endpoint, HttpCarrier } from "./call.js";
import { encodeJson } from "./encode.js";
import { renderMessage, renderPieces } from "./render.js";

/** Answers with more bytes are rendered in pieces of about as many characters. */
const LARGE = 256 * 1024;

/** One unary call over HTTP. */
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
      // A deadline that has passed already must not be a matter of luck.
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
      else if (this.call.finish()) this.answer(answer);
    });
  }

  private answer(answer: Uint8Array | undefined): void {
    const { response } = this.endpoint.method;
    const size = answer?.length ?? 0;
    if (this.isFull(size)) {
      this.fail(unread());
      return;
    }
    this.countAnswer(size);
    try {
      if (answer === undefined) sendAscii(this.response, "{}");
      else if (answer.length <= LARGE) sendAscii(this.response, renderMessage(response, answer));
      else this.answerInPieces(renderPieces(response, answer, LARGE));
    } catch {
      this.fail(unreadable());
    }
  }

  /** A long list takes long to render: others get their turn in between, and the client is waited for. */
  private answerInPieces(pieces: Iterator<string, void>): void {
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

/** What a handler has answered is no message of its method. */
export function unreadable(): StatusError {
  return new StatusError(Code.INTERNAL, "etcd-braid: the answer can not be read");
}

/** The request message that a JSON text says. Throws INVALID_ARGUMENT or, when it is too large, RESOURCE_EXHAUSTED. */
export function encodeRequest({ method, messageBytes }: Endpoint, text: string): Uint8Array {
  const message = encodeJson(method.request, text);
  if (message.length > messageBytes) throw tooLarge(message.length, messageBytes);
  return message;
}
