import { AsyncLocalStorage } from "node:async_hooks";
import type { Context } from "@opentelemetry/api";
import type { Started, Tracing } from "../ops/tracing.js";
import type { Handlers, UnaryHandler } from "../rpc/call.js";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { FOLDED } from "../timeline/ends.js";
import type { LogEnd, Timeline } from "../timeline/view.js";

/** `StatusCode.ERROR` of OpenTelemetry. */
const ERROR = 2;

/*
 * Tracing wraps what is there: a proxy without tracing has none of this in the way of its calls. Within a call the
 * span travels along the asynchronous calls that are made for it. Streams are not traced, they have no end to wait for.
 */
const current = new AsyncLocalStorage<Context>();

/** The same handlers, each unary call with a span. */
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
      end(started, new StatusError(Code.CANCELLED, "the client has left, or its deadline has passed"));
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

/** From now on each unary call to the shard that is made for a traced call has a span, which the shard is told. */
export function traceShard(shard: Shard, tracing: Tracing): void {
  const unary = shard.unary.bind(shard);
  shard.unary = (path, request, options, done) => {
    const parent = current.getStore();
    const started = parent && tracing.start(path.slice(1), "client", parent);
    if (started === undefined) return unary(path, request, options, done);
    describeCall(started, path);
    started.span.setAttribute("braid.shard", shard.name);
    const metadata = { ...options.metadata, traceparent: started.traceparent };
    const cancel = unary(path, request, { ...options, metadata }, (error, response) => {
      end(started, error);
      // The answer comes from a socket that knows nothing of the call.
      current.run(parent!, done, error, response);
    });
    return () => {
      end(started, new StatusError(Code.CANCELLED, "cancelled"));
      cancel();
    };
  };
}

/** From now on waiting for the timeline has a span in traced calls: to be sealed, and for the log's end. */
export function traceTimeline(timeline: Timeline, tracing: Tracing): void {
  const whenSealed = timeline.whenSealed.bind(timeline);
  timeline.whenSealed = (shard, revision, written, done) => {
    const parent = current.getStore();
    const started =
      parent && !timeline.isSealed(shard, revision) && tracing.start("timeline seal", "internal", parent);
    if (!started) return whenSealed(shard, revision, written, done);
    whenSealed(shard, revision, written, (error) => {
      end(started, error);
      current.run(parent!, done, error);
    });
  };
  const traceEnd = (logEnd: LogEnd): LogEnd => {
    const parent = current.getStore();
    const started = parent && logEnd !== FOLDED && tracing.start("timeline sync", "internal", parent);
    if (started) logEnd.whenFolded((error) => end(started, error));
    return logEnd;
  };
  const beginRead = timeline.beginRead.bind(timeline);
  timeline.beginRead = (shard) => traceEnd(beginRead(shard));
  const beginScan = timeline.beginScan.bind(timeline);
  timeline.beginScan = (shards) => traceEnd(beginScan(shards));
  const sync = timeline.sync.bind(timeline);
  timeline.sync = () => {
    const parent = current.getStore();
    const started = parent && tracing.start("timeline sync", "internal", parent);
    const result = sync();
    if (started !== undefined) {
      result.then(
        () => end(started, undefined),
        (reason) => end(started, StatusError.from(reason)),
      );
    }
    return result;
  };
}

function describeCall({ span }: Started, path: string): void {
  const [, service = "", method = ""] = path.split("/");
  span.setAttributes({ "rpc.system": "grpc", "rpc.service": service, "rpc.method": method });
}

function end({ span }: Started, error: StatusError | undefined): void {
  if (!span.isRecording()) return;
  span.setAttribute("rpc.grpc.status_code", error?.code ?? Code.OK);
  if (error !== undefined) span.setStatus({ code: ERROR, message: error.message });
  span.end();
}
