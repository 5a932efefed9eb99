import { isIPv6 } from "node:net";

/** An invalid address. The message is for the user and does not repeat the address. */
export class AddressError extends Error {
  override readonly name = "AddressError";
}

export interface HostPort {
  /** Host name or IP address; IPv6 without brackets. */
  readonly host: string;
  /** 0 … 65535. */
  readonly port: number;
}

/** Parses `host:port` (IPv6 in brackets). Throws `AddressError`. */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  if (!match) throw new AddressError("must be host:port (IPv6 as [::1]:2379)");
  const [, bracketed, plain = "", digits] = match;
  const port = Number(digits);
  if (port > 65535) throw new AddressError(`port ${digits} is above 65535`);
  if (bracketed !== undefined) {
    if (!isIPv6(bracketed)) throw new AddressError(`"${bracketed}" is not an IPv6 address`);
    return { host: bracketed.toLowerCase(), port };
  }
  if (plain === "") throw new AddressError("the host is missing (127.0.0.1 for this machine only)");
  if (!/^[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})$/.test(plain)) {
    throw new AddressError(`"${plain}" is not a host name`);
  }
  return { host: plain.toLowerCase(), port };
}

/** The inverse of `parseHostPort`. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The client address of an etcd member. */
export interface EtcdEndpoint extends HostPort {
  /** Whether the endpoint uses TLS. */
  readonly secure: boolean;
}

/** Parses `host:port`, `http://host:port` or `https://host:port`. The port must not be 0. Throws `AddressError`. */
export function parseEndpoint(text: string): EtcdEndpoint {
  const [prefix = "", given = "http"] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text) ?? [];
  const name = given.toLowerCase();
  if (name !== "http" && name !== "https") {
    throw new AddressError(`"${given}" is not supported (host:port, http://host:port or https://host:port)`);
  }
  const address = parseHostPort(prefix === "" ? text : text.slice(prefix.length).replace(/\/$/, ""));
  if (address.port === 0) throw new AddressError("the port must not be 0");
  return { ...address, secure: name === "https" };
}

/** The canonical spelling of an endpoint: `host:port`, or `https://host:port` with TLS. */
export function formatEndpoint(endpoint: EtcdEndpoint): string {
  return `${endpoint.secure ? "https://" : ""}${formatHostPort(endpoint)}`;
}

/** `host:port` of an endpoint, with TLS or without. Throws `AddressError`. */
export function hostPortOf(endpoint: string): string {
  return formatHostPort(parseEndpoint(endpoint));
}

/** The canonical spelling of a client URL, `http://host:port` or `https://host:port`. Throws `AddressError`. */
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

/** True for addresses that mean all interfaces of this machine. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || (isIPv6(host) && /^[0:]+$/.test(host));
}

/** The client URLs of a proxy that listens on these addresses (`host:port` each). */
export function clientUrls(addresses: readonly string[], tls: boolean): string[] {
  return addresses.map((address) => `${tls ? "https" : "http"}://${address}`);
}
