import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

/** The files of one side of TLS, in PEM form. */
export interface TlsFiles {
  /** Authorities that must have signed the peer's certificate. */
  readonly caFile?: string | undefined;
  /** This side's own certificate, followed by intermediate ones. Set with `keyFile` or not at all. */
  readonly certFile?: string | undefined;
  /** The private key of `certFile`, unencrypted. */
  readonly keyFile?: string | undefined;
}

/** The contents of the files, checked to belong together. */
export interface Material {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** When the own certificate expires, in milliseconds since the epoch; `Infinity` without one. */
  readonly expiresAt: number;
  /** CommonName of the own certificate; empty when it has none. */
  readonly commonName: string;
}

/** A file that cannot be used for TLS. The message starts with its name. */
export class TlsFileError extends Error {
  override readonly name = "TlsFileError";

  constructor(
    readonly file: string,
    reason: string,
  ) {
    super(`${file}: ${reason}`);
  }
}

/** Reads the files and checks that they belong together. Throws `TlsFileError`. */
export function readMaterial({ caFile, certFile, keyFile }: TlsFiles): Material {
  const ca = caFile === undefined ? undefined : readAuthorities(caFile);
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

function readAuthorities(file: string): string {
  const text = readText(file);
  parseCertificate(file, text);
  return text;
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
