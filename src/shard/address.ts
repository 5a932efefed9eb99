import { isIPv4, isIPv6 } from "node:net";
import { formatHostPort, parseEndpoint, unixPath } from "../config/address.js";

/** An endpoint of a shard as the connection layer needs it. */
export interface EndpointAddress {
  /** What the configuration and messages call it: `host:port`, `[::1]:port` or `unix:/path`. */
  readonly label: string;
  /** gRPC target. */
  readonly target: string;
  /** Whether TLS is spoken there. */
  readonly secure: boolean;
  /** What a certificate has to be for. */
  readonly host: string;
  /** As `net.connect` takes it. */
  readonly socket: { readonly host: string; readonly port: number } | { readonly path: string };
}

/**
 * Takes an endpoint apart: `host:port`, `[ipv6]:port`, either with `http://` or `https://` before it, or `unix:/path`.
 * Throws `AddressError`.
 */
export function endpointAddress(text: string): EndpointAddress {
  const path = unixPath(text);
  if (path !== undefined) {
    const label = `unix:${path}`;
    return { label, target: label, secure: false, host: "localhost", socket: { path } };
  }
  const { host, port, secure } = parseEndpoint(text);
  const label = formatHostPort({ host, port });
  return { label, target: `${resolver(host)}:${label}`, secure, host, socket: { host, port } };
}

/** The scheme of the gRPC target. An address needs no resolver; a name is resolved again whenever a connection is lost. */
function resolver(host: string): "ipv4" | "ipv6" | "dns" {
  if (isIPv6(host)) return "ipv6";
  return isIPv4(host) ? "ipv4" : "dns";
}
