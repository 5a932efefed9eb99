import { Code, StatusError } from "../status/error.js";
import type { Call, ServerStream, UnaryHandler } from "./call.js";

/** Adapts an async function to a handler. It resolves to the response, or rejects with the status. */
export function fromAsync(answer: (call: Call, request: Uint8Array) => Promise<Uint8Array>): UnaryHandler {
  return (call, request, reply) => {
    // Not `.catch` after `.then`: an error that `reply` throws must not cause a second reply.
    answer(call, request).then(
      (response) => reply(undefined, response),
      (reason: unknown) => reply(StatusError.from(reason)),
    );
  };
}

/**
 * Calls `serve` with the first request of a server stream, and ignores others. Without a request, or when `serve` throws,
 * the stream ends with an error.
 */
export function onRequest(stream: ServerStream, serve: (request: Uint8Array) => void): void {
  let requested = false;
  stream.onMessage((request) => {
    if (requested) return;
    requested = true;
    try {
      serve(request);
    } catch (reason) {
      stream.end(StatusError.from(reason));
    }
  });
  stream.onEnd(() => {
    if (!requested)
      stream.end(new StatusError(Code.INTERNAL, `etcd-braid: ${stream.path} without a request`));
  });
}
