import { isIPv4, isIPv6 } from "node:net";

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

const FORM = "expected host:port, [ipv6]:port or unix:/path";

/** Parses `host:port`, `[ipv6]:port`, either with `http://` or `https://` before it, or `unix:/path`. Throws an `Error` that says what is wrong. */
export function parseEndpoint(text: string): EndpointAddress {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    if (path === "") throw new Error(`endpoint "${text}": ${FORM}`);
    return {
      label: `unix:${path}`,
      target: `unix:${path}`,
      secure: false,
      host: "localhost",
      socket: { path },
    };
  }
  const match = /^(https?:\/\/)?(?:\[([^[\]]+)\]|([^:/[\]]+)):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[4]);
  if (match === null || port < 1 || port > 65535) throw new Error(`endpoint "${text}": ${FORM}`);
  const secure = match[1] === "https://";
  const ipv6 = match[2];
  if (ipv6 !== undefined) {
    if (!isIPv6(ipv6)) throw new Error(`endpoint "${text}": "${ipv6}" is not an IPv6 address`);
    const label = `[${ipv6}]:${port}`;
    return { label, target: `ipv6:${label}`, secure, host: ipv6, socket: { host: ipv6, port } };
  }
  const host = match[3]!;
  const label = `${host}:${port}`;
  // An address needs no resolver; a name is resolved again whenever a connection is lost.
  const target = `${isIPv4(host) ? "ipv4" : "dns"}:${label}`;
  return { label, target, secure, host, socket: { host, port } };
}
