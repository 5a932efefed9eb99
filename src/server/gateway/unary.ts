import type { IncomingMessage, ServerResponse } from "node:http";
import { StatusError } from "../../status/error.js";
import { tooLarge } from "../grpc/limit.js";
import type { UnaryHandler } from "../transport.js";
import { sendError, sendJson } from "./answers.js";
import { type Endpoint, HttpCall } from "./call.js";
import { encodeJson } from "./encode.js";
import { renderMessage } from "./render.js";

/** One unary call over HTTP. */
export class HttpUnary extends HttpCall {
  constructor(
    endpoint: Endpoint,
    private readonly handler: UnaryHandler,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    super(endpoint, request, response);
  }

  /** Reads the body, then runs the handler. */
  start(): void {
    readBody(this.request, this.endpoint, (error, text) => {
      // A deadline that has passed already must not be a matter of luck.
      this.expire();
      if (this.over) return;
      if (error !== undefined) this.abort(error);
      else this.run(text);
    });
  }

  private run(text: string): void {
    let message: Uint8Array;
    try {
      message = encodeRequest(this.endpoint, text);
    } catch (reason) {
      this.abort(StatusError.from(reason));
      return;
    }
    this.handler(this, message, (error, answer) => {
      if (!this.finish(error)) return;
      if (error !== undefined) this.fail(error);
      else this.answer(answer);
    });
  }

  private answer(answer: Uint8Array | undefined): void {
    let text: string;
    try {
      text = answer === undefined ? "{}" : renderMessage(this.endpoint.method.response, answer);
    } catch (reason) {
      this.fail(StatusError.from(reason));
      return;
    }
    sendJson(this.response, 200, text);
  }

  protected fail(error: StatusError): void {
    this.closeUnlessRead();
    sendError(this.response, error, this.path);
  }
}

/** The request message that a JSON text says. Throws INVALID_ARGUMENT or, when it is too large, RESOURCE_EXHAUSTED. */
export function encodeRequest({ method, messageBytes }: Endpoint, text: string): Uint8Array {
  const message = encodeJson(method.request, text);
  if (message.length > messageBytes) throw tooLarge(message.length, messageBytes);
  return message;
}

/** Calls `done` with the whole body, or with RESOURCE_EXHAUSTED as soon as it is too long. Not at all when the client goes. */
export function readBody(
  request: IncomingMessage,
  endpoint: Endpoint,
  done: (error: StatusError | undefined, text: string) => void,
): void {
  const chunks: Buffer[] = [];
  let size = 0;
  request.on("data", (chunk: Buffer) => {
    if (size > endpoint.textBytes) return;
    size += chunk.length;
    if (size > endpoint.textBytes) {
      chunks.length = 0;
      done(tooLarge(size, endpoint.messageBytes), "");
    } else chunks.push(chunk);
  });
  request.on("end", () => {
    if (size > endpoint.textBytes) return;
    done(undefined, (chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)).toString("utf8"));
  });
}
