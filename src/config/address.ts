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

/**
 * An etcd client endpoint in one spelling: `host:port` for itself and for `http://host:port`, `https://host:port` where
 * TLS is spoken. Throws `AddressError`.
 */
export function parseEndpoint(text: string): string {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text);
  const name = scheme?.[1].toLowerCase() ?? "http";
  if (name !== "http" && name !== "https") {
    throw new AddressError(
      `"${scheme![1]}" is not supported (host:port, http://host:port or https://host:port)`,
    );
  }
  const address = parseHostPort(scheme ? text.slice(scheme[0].length).replace(/\/$/, "") : text);
  if (address.port === 0) throw new AddressError("the port must not be 0");
  return name === "https" ? `https://${formatHostPort(address)}` : formatHostPort(address);
}

/** `host:port` of an endpoint, however it is spoken to. */
export function hostPortOf(endpoint: string): string {
  return endpoint.replace(/^https:\/\//, "");
}

/** A client URL to hand out, `http://host:port` or `https://host:port`, in one spelling. Throws `AddressError`. */
export function parseClientUrl(text: string): string {
  const match = /^(https?):\/\/(.*?)\/?$/i.exec(text);
  if (!match) throw new AddressError("must be http://host:port or https://host:port");
  const address = parseHostPort(match[2]);
  if (address.port === 0) throw new AddressError("the port must not be 0");
  if (isWildcard(address.host)) throw new AddressError("clients cannot connect to a wildcard address");
  return `${match[1].toLowerCase()}://${formatHostPort(address)}`;
}

/** True for the addresses that mean "all of this machine's". */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || (isIPv6(host) && /^[0:]+$/.test(host));
}

/** The client URLs of a proxy that is bound to these addresses (`host:port` each), with TLS or without. */
export function clientUrls(addresses: readonly string[], tls: boolean): string[] {
  return addresses.map((address) => `${tls ? "https" : "http"}://${address}`);
}
