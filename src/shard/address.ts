import { isIPv4, isIPv6 } from "node:net";
import { formatHostPort, parseEndpoint, unixPath } from "../config/address.js";

/** A parsed endpoint of a shard. */
export interface EndpointAddress {
  /** The name in configuration and messages: `host:port`, `[::1]:port` or `unix:/path`. */
  readonly label: string;
  /** gRPC target. */
  readonly target: string;
  /** Whether it uses TLS. */
  readonly secure: boolean;
  /** The name that its certificate must match by default. */
  readonly host: string;
  /** Options for `net.connect`. */
  readonly socket: { readonly host: string; readonly port: number } | { readonly path: string };
}

/**
 * Parses an endpoint: `host:port` or `[ipv6]:port`, optionally after `http://` or `https://`, or `unix:/path`.
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

/** Returns the scheme of the gRPC target. Addresses need no resolver. Names are resolved again for each connection. */
function resolver(host: string): "ipv4" | "ipv6" | "dns" {
  if (isIPv6(host)) return "ipv6";
  return isIPv4(host) ? "ipv4" : "dns";
}
