import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { temporaryFolder } from "./braid.js";

/** A certificate and its key, in files (PEM). */
export interface Pair {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface CertificateOptions {
  /** Host names and addresses; default 127.0.0.1 and localhost. */
  readonly names?: readonly string[];
  /** CommonName; default none. */
  readonly commonName?: string;
  /** When it expires, in hours from now; default 1. */
  readonly hours?: number;
}

/** An authority that makes certificates for tests. */
export class Authority {
  readonly caFile: string;
  private readonly folder = temporaryFolder();
  private readonly keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  private readonly subject: Buffer;
  private made = 0;

  constructor(name = "test authority") {
    this.subject = distinguishedName(name);
    this.caFile = join(this.folder, "ca.crt");
    const extensions = [
      extension("55 1d 13", true, sequence(der(0x01, Buffer.from([0xff])))), // basicConstraints: an authority
      extension("55 1d 0f", true, der(0x03, Buffer.from([1, 0x06]))), // keyUsage: signs certificates
    ];
    writeFileSync(this.caFile, this.certificate(this.subject, this.keys.publicKey, 24, extensions));
  }

  /** A new certificate for servers and clients alike, in new files. */
  issue(options: CertificateOptions = {}): Pair {
    const folder = join(this.folder, `${++this.made}`);
    const pair = { certFile: `${folder}.crt`, keyFile: `${folder}.key` };
    this.reissue(pair, options);
    return pair;
  }

  /** Replaces what is in the files. */
  reissue(
    pair: Pair,
    { names = ["127.0.0.1", "localhost"], commonName = "", hours = 1 }: CertificateOptions = {},
  ): void {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const alternatives = names.map((name) =>
      isIP(name) ? der(0x87, Buffer.from(name.split(".").map(Number))) : der(0x82, Buffer.from(name)),
    );
    const extensions = [
      extension("55 1d 0f", true, der(0x03, Buffer.from([7, 0x80]))), // keyUsage: signatures
      extension(
        "55 1d 25", // extendedKeyUsage: servers and clients
        false,
        sequence(oid("2b 06 01 05 05 07 03 01"), oid("2b 06 01 05 05 07 03 02")),
      ),
      ...(names.length > 0 ? [extension("55 1d 11", false, sequence(...alternatives))] : []),
    ];
    const pem = this.certificate(distinguishedName(commonName), publicKey, hours, extensions);
    writeFileSync(pair.keyFile, privateKey.export({ type: "pkcs8", format: "pem" }));
    writeFileSync(pair.certFile, pem);
  }

  private certificate(subject: Buffer, key: KeyObject, hours: number, extensions: readonly Buffer[]): string {
    const now = Date.now();
    const algorithm = sequence(oid("2a 86 48 ce 3d 04 03 02")); // ecdsa-with-SHA256
    const content = sequence(
      der(0xa0, integer(Buffer.from([2]))),
      integer(Buffer.concat([Buffer.from([0x01]), randomBytes(8)])),
      algorithm,
      this.subject,
      sequence(time(now - 48 * 3_600_000), time(now + hours * 3_600_000)),
      subject,
      key.export({ type: "spki", format: "der" }),
      der(0xa3, sequence(...extensions)),
    );
    const signature = sign("sha256", content, this.keys.privateKey);
    const bytes = sequence(content, algorithm, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
    return new X509Certificate(bytes).toString();
  }
}

/** ASN.1 in its distinguished encoding: tag, length, content. */
function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...items: readonly Buffer[]) => der(0x30, Buffer.concat(items));
const integer = (bytes: Buffer) => der(0x02, bytes);
const oid = (hex: string) => der(0x06, Buffer.from(hex.replaceAll(" ", ""), "hex"));

function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\..*/g, "");
  return der(0x17, Buffer.from(`${digits.slice(2)}Z`));
}

function distinguishedName(commonName: string): Buffer {
  if (commonName === "") return sequence();
  return sequence(der(0x31, sequence(oid("55 04 03"), der(0x0c, Buffer.from(commonName)))));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  const mark = critical ? [der(0x01, Buffer.from([0xff]))] : [];
  return sequence(oid(id), ...mark, der(0x04, value));
}
