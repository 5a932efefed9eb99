import { isIPv6 } from "node:net";

/** An address that cannot be used; the message is for the user and does not repeat the address. */
export class AddressError extends Error {
  override readonly name = "AddressError";
}

export interface HostPort {
  /** Host name or IP address; IPv6 without brackets. */
  readonly host: string;
  /** 0 … 65535. */
  readonly port: number;
}

/** Takes `host:port` apart (IPv6 in brackets). Throws `AddressError`. */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  if (!match) throw new AddressError("must be host:port (IPv6 as [::1]:2379)");
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port > 65535) throw new AddressError(`port ${digits} is above 65535`);
  if (bracketed !== undefined) {
    if (!isIPv6(bracketed)) throw new AddressError(`"${bracketed}" is not an IPv6 address`);
    return { host: bracketed.toLowerCase(), port };
  }
  if (plain === "") throw new AddressError("the host is missing (127.0.0.1 for this machine alone)");
  if (!/^[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})$/.test(plain)) {
    throw new AddressError(`"${plain}" is not a host name`);
  }
  return { host: plain.toLowerCase(), port };
}

/** The inverse of `parseHostPort`. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** An etcd member as clients reach it. */
export interface EtcdEndpoint extends HostPort {
  /** Whether TLS is spoken there. */
  readonly secure: boolean;
}

/** Takes `host:port`, `http://host:port` or `https://host:port` apart. The port is not 0. Throws `AddressError`. */
export function parseEndpoint(text: string): EtcdEndpoint {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text);
  const name = scheme?.[1].toLowerCase() ?? "http";
  if (name !== "http" && name !== "https") {
    throw new AddressError(
      `"${scheme![1]}" is not supported (host:port, http://host:port or https://host:port)`,
    );
  }
  const address = parseHostPort(scheme ? text.slice(scheme[0].length).replace(/\/$/, "") : text);
  if (address.port === 0) throw new AddressError("the port must not be 0");
  return { ...address, secure: name === "https" };
}

/** An endpoint in one spelling: `host:port`, or `https://host:port` where TLS is spoken. */
export function formatEndpoint(endpoint: EtcdEndpoint): string {
  return `${endpoint.secure ? "https://" : ""}${formatHostPort(endpoint)}`;
}

/** `host:port` of an endpoint, with TLS or without. Throws `AddressError`. */
export function hostPortOf(endpoint: string): string {
  return formatHostPort(parseEndpoint(endpoint));
}

/** A client URL to hand out, `http://host:port` or `https://host:port`, in one spelling. Throws `AddressError`. */
export function parseClientUrl(text: string): string {
  if (!/^https?:\/\//i.test(text)) throw new AddressError("must be http://host:port or https://host:port");
  const endpoint = parseEndpoint(text);
  if (isWildcard(endpoint.host)) throw new AddressError("clients cannot connect to a wildcard address");
  return `${endpoint.secure ? "https" : "http"}://${formatHostPort(endpoint)}`;
}

/** The path of a Unix socket, `unix:/path` or `unix:///path`; undefined for other addresses. Throws `AddressError`. */
export function unixPath(text: string): string | undefined {
  if (!text.startsWith("unix:")) return undefined;
  const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
  if (path === "") throw new AddressError("the path is missing (unix:/path)");
  return path;
}

/** True for the addresses that mean "all of this machine's". */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || (isIPv6(host) && /^[0:]+$/.test(host));
}

/** The client URLs of a proxy that is bound to these addresses (`host:port` each), with TLS or without. */
export function clientUrls(addresses: readonly string[], tls: boolean): string[] {
  return addresses.map((address) => `${tls ? "https" : "http"}://${address}`);
}
