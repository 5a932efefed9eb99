import type { Tracing } from "../../ops/openTelemetry.js";
import type { Handlers, UnaryHandler } from "../../rpc/call.js";
import { Code, StatusError } from "../../status/error.js";
import { current, describeCall, end } from "./spans.js";

/** Adds a span to each unary call. */
export function traceHandlers(handlers: Handlers, tracing: Tracing): Handlers {
  const traced = [...handlers.unary].map(
    ([path, handler]) => [path, traceUnary(path, handler, tracing)] as const,
  );
  return { unary: new Map(traced), stream: handlers.stream };
}

function traceUnary(path: string, handler: UnaryHandler, tracing: Tracing): UnaryHandler {
  const name = path.slice(1);
  return (call, request, reply) => {
    const started = tracing.start(name, "server", call.metadata.get("traceparent"));
    if (started === undefined) return handler(call, request, reply);
    describeCall(started, path);
    call.trace = started.span.spanContext().traceId;
    const ignoreCancel = call.onCancel(() => {
      end(
        started,
        new StatusError(Code.CANCELLED, "the client has disconnected, or its deadline has passed"),
      );
    });
    current.run(started.context, () =>
      handler(call, request, (error, response) => {
        ignoreCancel();
        end(started, error);
        reply(error, response);
      }),
    );
  };
}
