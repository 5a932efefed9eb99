import { createHash } from "node:crypto";

/** The directories of the gateway's configuration. Each is a group of keys, so each is on some shard. */
export const DIRECTORIES = ["/apisix/routes/", "/apisix/services/", "/apisix/upstreams/"] as const;
export const EVERYTHING = "/apisix/";

/** A fingerprint of a configuration: the same for the same keys with the same values. */
export function digest(entries: Iterable<readonly [key: string, value: string]>): string {
  const hash = createHash("sha256");
  for (const [key, value] of [...entries].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${key}\0${value}\0`);
  return hash.digest("hex").slice(0, 16);
}

/** Where a range of all keys that begin with `prefix` ends. */
export function prefixEnd(prefix: string): string {
  const last = prefix.length - 1;
  return prefix.slice(0, last) + String.fromCharCode(prefix.charCodeAt(last) + 1);
}

export const base64 = (text: string): string => Buffer.from(text).toString("base64");
export const text = (base64: string | undefined): string => Buffer.from(base64 ?? "", "base64").toString();
