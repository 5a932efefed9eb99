import { Code, StatusError } from "../status/error.js";
import type { Call, ServerStream, UnaryHandler } from "./call.js";

/** An async function as a handler: what it resolves with is the response, what it throws is the status. */
export function fromAsync(answer: (call: Call, request: Uint8Array) => Promise<Uint8Array>): UnaryHandler {
  return (call, request, reply) => {
    // A rejection handler beside the reply, not after it: an error thrown by `reply` is not the answer's.
    answer(call, request).then(
      (response) => reply(undefined, response),
      (reason: unknown) => reply(StatusError.from(reason)),
    );
  };
}

/**
 * Calls `serve` with the one request of a stream whose client sends no more than that. Without any the stream ends
 * with an error; what `serve` throws ends it, too.
 */
export function onRequest(stream: ServerStream, serve: (request: Uint8Array) => void): void {
  let asked = false;
  stream.onMessage((request) => {
    if (asked) return;
    asked = true;
    try {
      serve(request);
    } catch (reason) {
      stream.end(StatusError.from(reason));
    }
  });
  stream.onEnd(() => {
    if (!asked) stream.end(new StatusError(Code.INTERNAL, `etcd-braid: ${stream.path} without a request`));
  });
}
