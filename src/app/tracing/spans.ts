import { AsyncLocalStorage } from "node:async_hooks";
import type { Context } from "@opentelemetry/api";
import type { Started } from "../../ops/openTelemetry.js";
import { Code, type StatusError } from "../../status/error.js";

/*
 * Tracing is made of decorators, so that a proxy without it has nothing of this in the way of its calls. Within a call
 * the span follows the asynchronous calls that are made for it. Streams are not traced: they may never end.
 */

/** `StatusCode.ERROR` of OpenTelemetry. */
const ERROR = 2;

/** The span of the client's call that the running code works for; nothing outside of traced calls. */
export const current = new AsyncLocalStorage<Context>();

/** Says which method the span is about. */
export function describeCall({ span }: Started, path: string): void {
  const [, service = "", method = ""] = path.split("/");
  span.setAttributes({ "rpc.system": "grpc", "rpc.service": service, "rpc.method": method });
}

/** Ends the span with the outcome; does nothing when it has ended already. */
export function end({ span }: Started, error: StatusError | undefined): void {
  if (!span.isRecording()) return;
  span.setAttribute("rpc.grpc.status_code", error?.code ?? Code.OK);
  if (error !== undefined) span.setStatus({ code: ERROR, message: error.message });
  span.end();
}
