import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

/** Which files one side of TLS uses. */
export interface TlsFiles {
  /** The authorities whose certificates are accepted from the other side. */
  readonly caFile?: string | undefined;
  /** What this side shows: its certificate, followed by the intermediate ones, and its private key. Both or none. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

/** What the files hold, all of it usable together. */
export interface Material {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** Milliseconds since the epoch at which the own certificate expires; `Infinity` without one. */
  readonly expiresAt: number;
  /** CommonName of the own certificate; empty when it has none. */
  readonly commonName: string;
}

/** A file that cannot be used for TLS; the message begins with its name. */
export class TlsFileError extends Error {
  override readonly name = "TlsFileError";

  constructor(
    readonly file: string,
    reason: string,
  ) {
    super(`${file}: ${reason}`);
  }
}

/** Reads the files (PEM) and checks that they belong together. Throws `TlsFileError`. */
export function readMaterial({ caFile, certFile, keyFile }: TlsFiles): Material {
  const ca = caFile === undefined ? undefined : readText(caFile);
  if (ca !== undefined) parseCertificate(caFile!, ca);
  if (certFile === undefined || keyFile === undefined) {
    return { ca, cert: undefined, key: undefined, expiresAt: Number.POSITIVE_INFINITY, commonName: "" };
  }
  const cert = readText(certFile);
  const key = readText(keyFile);
  const certificate = parseCertificate(certFile, cert);
  if (!certificate.checkPrivateKey(parseKey(keyFile, key))) {
    throw new TlsFileError(keyFile, `is not the key of the certificate in ${certFile}`);
  }
  return {
    ca,
    cert,
    key,
    expiresAt: Date.parse(certificate.validTo),
    commonName: /^CN=(.*)$/m.exec(certificate.subject ?? "")?.[1] ?? "",
  };
}

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "permission denied",
  EISDIR: "is a directory",
};

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    throw new TlsFileError(file, READ_ERRORS[code] ?? message);
  }
}

function parseCertificate(file: string, text: string): X509Certificate {
  if (!text.includes("-----BEGIN CERTIFICATE-----")) {
    throw new TlsFileError(file, "holds no certificate in PEM form");
  }
  try {
    return new X509Certificate(text);
  } catch (error) {
    throw new TlsFileError(file, `holds a malformed certificate (${(error as Error).message})`);
  }
}

function parseKey(file: string, text: string): KeyObject {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw new TlsFileError(file, "holds no private key in PEM form");
  }
  try {
    return createPrivateKey(text);
  } catch (error) {
    const encrypted = /ENCRYPTED/.test(text);
    const reason = encrypted ? "is encrypted" : `holds a malformed key (${(error as Error).message})`;
    throw new TlsFileError(file, reason);
  }
}
