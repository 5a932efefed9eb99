import type { Call, UnaryHandler } from "../server/transport.js";
import { StatusError } from "../status/error.js";

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
