import { isIPv4, isIPv6 } from "node:net";

/** An endpoint of a shard as the connection layer needs it. */
export interface EndpointAddress {
  /** What the configuration and messages call it: `host:port`, `[::1]:port` or `unix:/path`. */
  readonly label: string;
  /** gRPC target. */
  readonly target: string;
  /** For a plain TCP or unix connection, as `net.connect` takes it. */
  readonly socket: { readonly host: string; readonly port: number } | { readonly path: string };
}

const FORM = "expected host:port, [ipv6]:port or unix:/path";

/** Parses `host:port`, `[ipv6]:port`, either with `http://` before it, or `unix:/path`. Throws an `Error` that says what is wrong. */
export function parseEndpoint(text: string): EndpointAddress {
  if (text.startsWith("https://")) {
    throw new Error(`endpoint "${text}": TLS connections to shards are not available yet`);
  }
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    if (path === "") throw new Error(`endpoint "${text}": ${FORM}`);
    return { label: `unix:${path}`, target: `unix:${path}`, socket: { path } };
  }
  const match = /^(?:http:\/\/)?(?:\[([^[\]]+)\]|([^:/[\]]+)):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65535) throw new Error(`endpoint "${text}": ${FORM}`);
  const ipv6 = match[1];
  if (ipv6 !== undefined) {
    if (!isIPv6(ipv6)) throw new Error(`endpoint "${text}": "${ipv6}" is not an IPv6 address`);
    const label = `[${ipv6}]:${port}`;
    return { label, target: `ipv6:${label}`, socket: { host: ipv6, port } };
  }
  const host = match[2]!;
  const label = `${host}:${port}`;
  // An address needs no resolver; a name is resolved again whenever a connection is lost.
  return { label, target: `${isIPv4(host) ? "ipv4" : "dns"}:${label}`, socket: { host, port } };
}
