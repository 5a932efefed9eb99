import type { Callers } from "../auth/callers.js";
import type { Handlers, StreamHandler, UnaryHandler } from "../rpc/call.js";

/** Handlers that set each call's `caller` first. Without `callers`, returns `handlers`. */
export function withCallers(callers: Callers | undefined, handlers: Handlers): Handlers {
  if (callers === undefined) return handlers;
  const unary = new Map<string, UnaryHandler>();
  for (const [path, handler] of handlers.unary) {
    unary.set(path, (call, request, reply) => {
      call.caller = callers.of(call.metadata);
      handler(call, request, reply);
    });
  }
  const stream = new Map<string, StreamHandler>();
  for (const [path, handler] of handlers.stream) {
    stream.set(path, (call) => {
      call.caller = callers.of(call.metadata);
      handler(call);
    });
  }
  return { unary, stream };
}
