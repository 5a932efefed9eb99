import type { Context, Span, SpanContext, SpanKind, Tracer } from "@opentelemetry/api";
import { LogGate } from "./gate.js";
import type { Log } from "./log.js";
import { version } from "./package.js";

/** As the section `tracing`: this room and `config` lie on one floor, so neither imports the other. */
export interface TracingOptions {
  /** Where spans are sent (OTLP over HTTP). */
  readonly endpoint: string;
  /** Share of the traces begun here that are recorded, 0 to 1. */
  readonly sampleRatio: number;
  readonly serviceName: string;
}

export interface Tracing {
  /**
   * Begins a span under `parent`: a context of this proxy, or what the client says in `traceparent` (undefined or
   * malformed: a trace of its own). Undefined when it is not recorded.
   */
  start(
    name: string,
    kind: "server" | "client" | "internal",
    parent: Context | string | undefined,
  ): Started | undefined;
  /** Sends what is left, for at most two seconds. */
  close(): Promise<void>;
}

export interface Started {
  readonly span: Span;
  /** The parent of spans within it. */
  readonly context: Context;
  /** What another process continues the trace by. */
  readonly traceparent: string;
}

const CLOSE_PATIENCE = 2_000;
/** How long spans are collected before they are sent, ms. */
const SEND_INTERVAL = 1_000;

/** Begins to send spans. The libraries are loaded only now. */
export async function openTracing(options: TracingOptions, log: Log): Promise<Tracing> {
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
  ]);
  const { endpoint, sampleRatio, serviceName } = options;
  const gate = new LogGate(
    (_, more) => log.warn({ more }, "more trouble with tracing was left out"),
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
        scheduledDelayMillis: SEND_INTERVAL,
      }),
    ],
  });
  const tracer: Tracer = provider.getTracer("etcd-braid", version);
  const kinds: Readonly<Record<string, SpanKind>> = {
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
        timer = setTimeout(resolve, CLOSE_PATIENCE);
      });
      await Promise.race([provider.shutdown().catch(silent), late]);
      clearTimeout(timer);
    },
  };
}

/** The W3C header: version, trace, span, flags. */
function parseTraceparent(text: string | undefined): SpanContext | undefined {
  const match = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})/.exec(
    text ?? "",
  );
  if (match === null) return undefined;
  const [, traceId, spanId, flags] = match;
  return { traceId: traceId!, spanId: spanId!, traceFlags: Number.parseInt(flags!, 16), isRemote: true };
}
