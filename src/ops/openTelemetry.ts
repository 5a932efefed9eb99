import type { Context, Span, SpanContext, SpanKind, Tracer } from "@opentelemetry/api";
import type { Log } from "./log.js";
import { LogGate } from "./logGate.js";
import { version } from "./package.js";

/** As the section `tracing`: this room and `config` lie on one floor, so neither imports the other. */
export interface TracingOptions {
  /** The URL that spans are sent to, as OTLP over HTTP. */
  readonly endpoint: string;
  /** Share of new traces to record, 0 to 1. */
  readonly sampleRatio: number;
  readonly serviceName: string;
}

type Kind = "server" | "client" | "internal";

export interface Tracing {
  /**
   * Starts a span. `parent` is a context of this proxy or a client's `traceparent` header; if it is undefined or
   * malformed, the span starts a new trace. Returns undefined if the trace is not recorded.
   */
  start(name: string, kind: Kind, parent: Context | string | undefined): Started | undefined;
  /** Sends the remaining spans, waiting for at most two seconds. */
  close(): Promise<void>;
}

export interface Started {
  readonly span: Span;
  /** The context for child spans. */
  readonly context: Context;
  /** The `traceparent` header with which another process continues the trace. */
  readonly traceparent: string;
}

const CLOSE_TIMEOUT_MS = 2_000;
/** How long spans are collected before they are sent. */
const EXPORT_INTERVAL_MS = 1_000;

/** Starts to export spans. Loads the libraries, so that a proxy without tracing does not. */
export async function openTracing(options: TracingOptions, log: Log): Promise<Tracing> {
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
  ]);
  const { endpoint, sampleRatio, serviceName } = options;
  const gate = new LogGate(
    (_, more) => log.warn({ more }, "more errors of tracing were not logged"),
    1,
    60_000,
  );
  const complain = (error: string) => {
    if (gate.passes("export")) log.warn({ endpoint, error }, "spans could not be sent");
  };
  const silent = () => {};
  api.diag.setLogger(
    { error: complain, warn: complain, info: silent, debug: silent, verbose: silent },
    api.DiagLogLevel.WARN,
  );
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({ "service.name": serviceName, "service.version": version }),
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(sampleRatio) }),
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter: new OTLPTraceExporter({ url: endpoint }),
        scheduledDelayMillis: EXPORT_INTERVAL_MS,
      }),
    ],
  });
  const tracer: Tracer = provider.getTracer("etcd-braid", version);
  const kinds: Readonly<Record<Kind, SpanKind>> = {
    server: api.SpanKind.SERVER,
    client: api.SpanKind.CLIENT,
    internal: api.SpanKind.INTERNAL,
  };
  const contextOf = (traceparent: string | undefined): Context => {
    const remote = parseTraceparent(traceparent);
    return remote === undefined ? api.ROOT_CONTEXT : api.trace.setSpanContext(api.ROOT_CONTEXT, remote);
  };
  return {
    start(name, kind, parent) {
      const outer = parent === undefined || typeof parent === "string" ? contextOf(parent) : parent;
      const span = tracer.startSpan(name, { kind: kinds[kind] }, outer);
      if (!span.isRecording()) return undefined;
      const { traceId, spanId } = span.spanContext();
      return { span, context: api.trace.setSpan(outer, span), traceparent: `00-${traceId}-${spanId}-01` };
    },
    async close() {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
      });
      await Promise.race([provider.shutdown().catch(silent), late]);
      clearTimeout(timer);
    },
  };
}

/** Parses the header of W3C Trace Context: version, trace id, parent id, flags. */
function parseTraceparent(text: string | undefined): SpanContext | undefined {
  const match = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})/.exec(
    text ?? "",
  );
  if (match === null) return undefined;
  const [, traceId, spanId, flags] = match;
  return { traceId: traceId!, spanId: spanId!, traceFlags: Number.parseInt(flags!, 16), isRemote: true };
}
