import type { TlsFiles } from "./material.js";

/** A failed handshake, as Node or OpenSSL reports it. */
export interface TlsFailure {
  readonly code?: string;
  readonly message: string;
}

/** Problems of a certificate by error code or text, worded to follow "… certificate". */
const CERTIFICATE_PROBLEMS: readonly (readonly [RegExp, string])[] = [
  [/CERT_HAS_EXPIRED|certificate has expired/, "has expired"],
  [/CERT_NOT_YET_VALID|certificate is not yet valid/, "is not valid yet"],
  [
    /INVALID_PURPOSE|unsuitable certificate purpose|unsupported certificate purpose/,
    "is not valid for this use",
  ],
];
const UNKNOWN_AUTHORITY =
  /UNABLE_TO_(VERIFY|GET_ISSUER)|SELF_SIGNED|SIGNATURE_FAILURE|self[- ]signed certificate|unable to (verify|get)|certificate signature failure/;

/**
 * Why a server cannot be reached over TLS, as a clause about it; undefined when TLS is not the reason.
 * `client.name` is the name that the server's certificate must match. `isHandshakeDone`: this side of the
 * handshake had finished before.
 */
export function serverProblem(
  failure: TlsFailure,
  client: Pick<TlsFiles, "caFile" | "certFile"> & { readonly name: string },
  isHandshakeDone: boolean,
): string | undefined {
  const text = `${failure.code ?? ""} ${failure.message}`;
  for (const [pattern, problem] of CERTIFICATE_PROBLEMS) {
    if (pattern.test(text)) return `its certificate ${problem}`;
  }
  if (UNKNOWN_AUTHORITY.test(text)) {
    const trusted = client.caFile ?? "this system's list (set caFile)";
    return `its certificate is not signed by an authority in ${trusted}`;
  }
  const mismatch = /does not match certificate's altnames: (.*)/.exec(text);
  if (mismatch) {
    const names = /(?:altnames|list): (.*?)\.?$/.exec(mismatch[1] ?? "")?.[1];
    return `its certificate is ${names ? `for ${names}, ` : ""}not for ${client.name} (see serverName)`;
  }
  if (/WRONG_VERSION_NUMBER|wrong version number|packet length too long/.test(text)) {
    return "it does not speak TLS (write http:// if that is intended)";
  }
  // A server that cannot parse the handshake may close or reset the connection.
  if (/disconnected before secure TLS/.test(text) || (!isHandshakeDone && /ECONNRESET/.test(text)))
    return "it ended the TLS handshake (does it speak TLS?)";
  const alert = alertIn(text);
  if (alert === undefined) return undefined;
  if (/protocol version/.test(alert)) return "no TLS version in common";
  if (!/certificate|unknown ca|handshake failure|access denied/.test(alert)) return `TLS alert: ${alert}`;
  if (client.certFile === undefined) return "it requires a client certificate (set certFile and keyFile)";
  return `it does not accept the certificate in ${client.certFile} (${alert})`;
}

/** Why a client's handshake failed, for the log. `caFile` has the authorities that clients' certificates must be signed by. */
export function clientProblem(failure: TlsFailure, caFile: string | undefined): string {
  const text = `${failure.code ?? ""} ${failure.message}`;
  for (const [pattern, problem] of CERTIFICATE_PROBLEMS) {
    if (pattern.test(text)) return `the client's certificate ${problem}`;
  }
  if (UNKNOWN_AUTHORITY.test(text)) {
    return `the client's certificate is not signed by an authority in ${caFile}`;
  }
  if (/did not return a certificate/.test(text)) return "the client sent no certificate";
  if (/http request|HTTP_REQUEST|wrong version number|WRONG_VERSION_NUMBER/.test(text)) {
    return "the client does not speak TLS";
  }
  if (/unsupported protocol|UNSUPPORTED_PROTOCOL/.test(text)) return "the client's TLS version is too old";
  if (/no shared cipher|NO_SHARED_CIPHER/.test(text)) return "no cipher suite in common";
  const alert = alertIn(text);
  if (alert !== undefined) return `the client refused: ${alert}`;
  if (/ECONNRESET|EPIPE/.test(text)) return "the client disconnected during the handshake";
  if (/TLS_HANDSHAKE_TIMEOUT/.test(text)) return "the handshake took too long";
  return failure.message;
}

/** The TLS alert that OpenSSL reports in `text`, if any. */
function alertIn(text: string): string | undefined {
  return /\balert ([a-z ]+)/.exec(text)?.[1]?.trim();
}
