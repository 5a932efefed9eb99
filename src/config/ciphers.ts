import { getCiphers } from "node:tls";

/** The suites of TLS 1.3, most wanted first. */
const TLS13 = ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];

/**
 * A cipher suite in OpenSSL's name. It may be given by that or, as to etcd, by its standard name
 * (`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`). Undefined when there is no such suite here.
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

/** `names` with the suites of TLS 1.3, which etcd does not let choose either, unless some of them are given. */
export function withTls13(names: readonly string[]): readonly string[] {
  return names.some((name) => name.startsWith("TLS_")) ? names : [...TLS13, ...names];
}
