import { AsyncLocalStorage } from "node:async_hooks";
import type { Context } from "@opentelemetry/api";
import type { Started } from "../../ops/openTelemetry.js";
import { Code, type StatusError } from "../../status/error.js";

/*
 * Tracing consists of decorators, so it costs nothing when it is off. The span of a call is kept in an asynchronous
 * context. Streams are not traced, because they may never end.
 */

/** `StatusCode.ERROR` of OpenTelemetry. */
const ERROR = 2;

/** The span of the traced call that the running code belongs to; undefined outside of traced calls. */
export const current = new AsyncLocalStorage<Context>();

/** Sets the span's method. */
export function describeCall({ span }: Started, path: string): void {
  const [, service = "", method = ""] = path.split("/");
  span.setAttributes({ "rpc.system": "grpc", "rpc.service": service, "rpc.method": method });
}

/** Ends the span with the outcome. Does nothing if it has already ended. */
export function end({ span }: Started, error: StatusError | undefined): void {
  if (!span.isRecording()) return;
  span.setAttribute("rpc.grpc.status_code", error?.code ?? Code.OK);
  if (error !== undefined) span.setStatus({ code: ERROR, message: error.message });
  span.end();
}
