import { statSync } from "node:fs";
import { type Material, readMaterial, TlsFileError, type TlsFiles } from "./material.js";

/** The log that this room writes to, such as a pino logger. */
export interface TlsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Least time between two checks whether the files have changed. */
const CHECK_INTERVAL_MS = 1_000;

/**
 * A value built from TLS files, such as a secure context, and rebuilt when they change. If the new files cannot be
 * used, the old value stays, and the log says which file is wrong and why.
 */
export class Reloading<T> {
  private made: T;
  private current: Material;
  private stamp: string;
  private checkedAt = Date.now();

  /** Reads the files. `owner` names their user in the log; `make` builds the value. Throws `TlsFileError`. */
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

  /** The contents of the files in use. */
  get material(): Material {
    return this.current;
  }

  /** The value for the files as they are now. Checks for changes at most once a second. */
  get(): T {
    const now = Date.now();
    if (Math.abs(now - this.checkedAt) >= CHECK_INTERVAL_MS) {
      this.checkedAt = now;
      const stamp = stampOf(this.files);
      if (stamp !== this.stamp) this.load(stamp);
    }
    return this.made;
  }

  /** Reads the files again even if they seem unchanged. */
  reload(): void {
    this.load(stampOf(this.files));
  }

  private load(stamp: string): void {
    // Even unusable files are not read again until they change.
    this.stamp = stamp;
    const { owner, log } = this;
    try {
      const material = readMaterial(this.files);
      if (isExpired(material)) {
        throw new TlsFileError(this.files.certFile!, `the certificate expired at ${when(material)}`);
      }
      this.made = this.build(material);
      this.current = material;
      log.info({ owner, expires: when(material) }, "TLS files reloaded");
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

/** A text that changes whenever one of the files does. */
function stampOf({ caFile, certFile, keyFile }: TlsFiles): string {
  return [caFile, certFile, keyFile].map((file) => (file === undefined ? "" : stampOfFile(file))).join(" ");
}

/** Never throws: `readMaterial` reports what is wrong with a file. */
function stampOfFile(file: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(file);
    return `${ino}:${size}:${mtimeMs}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "missing";
  }
}
