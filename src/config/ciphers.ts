import { getCiphers } from "node:tls";

/** The suites of TLS 1.3, in order of preference. */
const TLS13 = ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];

/**
 * OpenSSL's name of a cipher suite. `name` is that name or, as for etcd, the standard name
 * (`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`). Undefined for a suite that this Node.js does not have.
 */
export function cipherOf(name: string): string | undefined {
  const known = new Set(getCiphers());
  if (known.has(name.toLowerCase())) return name.toUpperCase();
  const guess = name
    .toUpperCase()
    .replace(/^TLS_(RSA_WITH_)?/, "")
    .replace("_WITH_", "_")
    .replace(/AES_(128|256)/, "AES$1")
    .replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305")
    .replace("_CBC", "")
    .replaceAll("_", "-");
  return known.has(guess.toLowerCase()) ? guess : undefined;
}

/** Adds the suites of TLS 1.3, which etcd always enables, unless `names` contains some of them. */
export function withTls13(names: readonly string[]): readonly string[] {
  return names.some((name) => name.startsWith("TLS_")) ? names : [...TLS13, ...names];
}
