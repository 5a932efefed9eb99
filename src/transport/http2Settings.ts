import { schema } from "../config/schema.js";
import type { Config } from "../config/types.js";
import type { ConnectionLimits } from "../http2/limits.js";

/** Limits of a connection that operators can set. */
export type Http2Settings = Config["http2"];

export const HTTP2_DEFAULTS: Http2Settings = schema.shape.http2.parse(undefined);

/** The settings in the form that a connection takes. */
export function limitsOf(
  settings: Http2Settings,
): Pick<ConnectionLimits, "maxStreams" | "pingIntervalMs" | "pingTimeoutMs"> {
  const { maxStreams, keepaliveIntervalMs, keepaliveTimeoutMs } = settings;
  return { maxStreams, pingIntervalMs: keepaliveIntervalMs, pingTimeoutMs: keepaliveTimeoutMs };
}
