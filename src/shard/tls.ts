import { isIP } from "node:net";
import {
  type ConnectionOptions,
  checkServerIdentity,
  createSecureContext,
  type SecureContext,
} from "node:tls";
import type { ShardTlsConfig } from "../config/tls.js";
import { TlsFileError } from "../tls/material.js";
import { serverProblem, type TlsFailure } from "../tls/reason.js";
import { Reloading, type TlsLog } from "../tls/reloading.js";

/** How to connect to a shard over TLS. */
export interface ShardTls extends ShardTlsConfig {
  /**
   * Refuses a client certificate with a CommonName. A shard with authentication takes requests without a token as
   * requests of the user with that name.
   */
  readonly noCommonName?: boolean;
}

/** The proxy's side of TLS with one cluster. */
export class ShardTlsContext {
  private readonly context: Reloading<SecureContext>;

  /** Throws `TlsFileError` when a file cannot be used. */
  constructor(
    private readonly options: ShardTls,
    owner: string,
    log: TlsLog,
  ) {
    const { caFile, certFile, keyFile, noCommonName } = options;
    this.context = new Reloading(
      { caFile, certFile, keyFile },
      owner,
      log,
      ({ ca, cert, key, commonName }) => {
        if (noCommonName && commonName !== "") {
          throw new TlsFileError(
            certFile!,
            `its CommonName is "${commonName}": a shard with authentication would take requests without a token as ` +
              "requests of that user; use a certificate without a CommonName",
          );
        }
        return createSecureContext({ ca, cert, key });
      },
    );
  }

  /** The context for the current files. A new object when they have changed. */
  get secureContext(): SecureContext {
    return this.context.get();
  }

  /** When the client certificate expires, in milliseconds since the epoch; `Infinity` without one. */
  get expiresAt(): number {
    return this.context.material.expiresAt;
  }

  /** Returns the options of a new connection to `host`. */
  connectOptions(host: string): ConnectionOptions {
    const name = this.nameFor(host);
    return {
      secureContext: this.secureContext,
      // SNI has no IP addresses.
      servername: isIP(name) ? "" : name,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: this.verifies,
      checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
    };
  }

  get verifies(): boolean {
    return this.options.insecureSkipVerify !== true;
  }

  /** Returns the name that the certificate of an endpoint on `host` must match. */
  nameFor(host: string): string {
    return this.options.serverName ?? host;
  }

  /** Returns why a connection to `host` failed, or undefined if TLS is not the reason. */
  problem(failure: TlsFailure, host: string, isHandshakeDone: boolean): string | undefined {
    return serverProblem(failure, { ...this.options, name: this.nameFor(host) }, isHandshakeDone);
  }

  /** Reads the files again. */
  reload(): void {
    this.context.reload();
  }
}
