import { statSync } from "node:fs";
import { type Material, readMaterial, TlsFileError, type TlsFiles } from "./material.js";

/** What this room logs through; a pino logger is one. */
export interface TlsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** How often at most the files are looked at, ms. */
const LOOK_INTERVAL = 1_000;

/**
 * What is made of the files of one side of TLS, made anew when they change. Files that cannot be used leave what there
 * was in place, and the log says which file and why.
 */
export class Reloading<T> {
  private made: T;
  private current: Material;
  private stamp: string;
  private lookedAt = Date.now();

  /** `make` gets the content of the files. `owner` names who uses them, for the log. Throws `TlsFileError`. */
  constructor(
    private readonly files: TlsFiles,
    private readonly owner: string,
    private readonly log: TlsLog,
    private readonly make: (material: Material) => T,
  ) {
    this.stamp = stampOf(files);
    this.current = readMaterial(files);
    this.made = this.build(this.current);
    if (isExpired(this.current)) {
      log.warn({ owner, file: files.certFile, expired: when(this.current) }, "TLS certificate has expired");
    }
  }

  /** The content of the files in use. */
  get material(): Material {
    return this.current;
  }

  /** What was made of the files as they are now. Looks for changes once a second at most. */
  get(): T {
    const now = Date.now();
    if (Math.abs(now - this.lookedAt) >= LOOK_INTERVAL) {
      this.lookedAt = now;
      const stamp = stampOf(this.files);
      if (stamp !== this.stamp) this.load(stamp);
    }
    return this.made;
  }

  /** Reads the files again, whether they look changed or not. */
  reload(): void {
    this.load(stampOf(this.files));
  }

  private load(stamp: string): void {
    // Read as they are, they are not looked at again before they change.
    this.stamp = stamp;
    const { owner, log } = this;
    try {
      const material = readMaterial(this.files);
      if (isExpired(material)) {
        throw new TlsFileError(this.files.certFile!, `the certificate expired at ${when(material)}`);
      }
      this.made = this.build(material);
      this.current = material;
      log.info({ owner, expires: when(material) }, "TLS files loaded anew");
    } catch (error) {
      if (!(error instanceof TlsFileError)) throw error;
      log.warn({ owner, error: error.message }, "new TLS files cannot be used, the old ones stay in use");
    }
  }

  private build(material: Material): T {
    try {
      return this.make(material);
    } catch (error) {
      if (error instanceof TlsFileError) throw error;
      const { certFile, caFile } = this.files;
      throw new TlsFileError(certFile ?? caFile ?? "TLS", (error as Error).message);
    }
  }
}

function isExpired({ expiresAt }: Material): boolean {
  return expiresAt <= Date.now();
}

function when({ expiresAt }: Material): string | undefined {
  return Number.isFinite(expiresAt) ? new Date(expiresAt).toISOString() : undefined;
}

/** Changes whenever one of the files does. */
function stampOf({ caFile, certFile, keyFile }: TlsFiles): string {
  return [caFile, certFile, keyFile].map((file) => (file === undefined ? "" : stampOfFile(file))).join(" ");
}

/** Never throws: what is wrong with a file is told, with its name, by whoever reads it. */
function stampOfFile(file: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(file);
    return `${ino}:${size}:${mtimeMs}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "missing";
  }
}
