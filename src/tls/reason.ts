import type { TlsFiles } from "./material.js";

/** A failed handshake as Node or OpenSSL tells of it. */
export interface TlsFailure {
  readonly code?: string;
  readonly message: string;
}

/** What is wrong with a certificate, by the code or the text for it: "… certificate <text>". */
const CERTIFICATE_PROBLEMS: readonly (readonly [RegExp, string])[] = [
  [/CERT_HAS_EXPIRED|certificate has expired/, "has expired"],
  [/CERT_NOT_YET_VALID|certificate is not yet valid/, "is not valid yet"],
  [
    /INVALID_PURPOSE|unsuitable certificate purpose|unsupported certificate purpose/,
    "is not meant for this use",
  ],
];
const UNKNOWN_AUTHORITY =
  /UNABLE_TO_(VERIFY|GET_ISSUER)|SELF_SIGNED|SIGNATURE_FAILURE|self[- ]signed certificate|unable to (verify|get)|certificate signature failure/;

/**
 * Why a server cannot be reached over TLS, as a part of a sentence about it. `name` is what its certificate has to be
 * for; `isHandshakeDone` tells whether the connection had been established before. Undefined when the failure has nothing to do
 * with TLS.
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
    const names = /(?:altnames|list): (.*?)\.?$/.exec(mismatch[1])?.[1];
    return `its certificate is ${names ? `for ${names}, ` : ""}not for ${client.name} (see serverName)`;
  }
  if (/WRONG_VERSION_NUMBER|wrong version number|packet length too long/.test(text)) {
    return "it does not speak TLS (write http:// if that is meant)";
  }
  // Who gets what it takes for nonsense may close, or reset, depending on what it has read of it.
  if (/disconnected before secure TLS/.test(text) || (!isHandshakeDone && /ECONNRESET/.test(text)))
    return "it ended the TLS handshake (does it speak TLS?)";
  const alert = /\balert ([a-z ]+)/.exec(text)?.[1].trim();
  if (alert === undefined) return undefined;
  if (/protocol version/.test(alert)) return "no version of TLS in common";
  if (!/certificate|unknown ca|handshake failure|access denied/.test(alert)) return `TLS alert: ${alert}`;
  if (client.certFile === undefined) return "it wants a client certificate (set certFile and keyFile)";
  return `it does not accept the certificate in ${client.certFile} (${alert})`;
}

/** Why a client's handshake has failed, for the log. `caFile` is where its authority has to be in. */
export function clientProblem(failure: TlsFailure, caFile: string | undefined): string {
  const text = `${failure.code ?? ""} ${failure.message}`;
  for (const [pattern, problem] of CERTIFICATE_PROBLEMS) {
    if (pattern.test(text)) return `the client's certificate ${problem}`;
  }
  if (UNKNOWN_AUTHORITY.test(text)) {
    return `the client's certificate is not signed by an authority in ${caFile}`;
  }
  if (/did not return a certificate/.test(text)) return "the client has no certificate";
  if (/http request|HTTP_REQUEST|wrong version number|WRONG_VERSION_NUMBER/.test(text)) {
    return "the client does not speak TLS";
  }
  if (/unsupported protocol|UNSUPPORTED_PROTOCOL/.test(text)) return "the client's version of TLS is too old";
  if (/no shared cipher|NO_SHARED_CIPHER/.test(text)) return "no cipher suite in common";
  const alert = /\balert ([a-z ]+)/.exec(text)?.[1].trim();
  if (alert !== undefined) return `the client refuses: ${alert}`;
  if (/ECONNRESET|EPIPE/.test(text)) return "the client went away during the handshake";
  if (/TLS_HANDSHAKE_TIMEOUT/.test(text)) return "the handshake took too long";
  return failure.message;
}
