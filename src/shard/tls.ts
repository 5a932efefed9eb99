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

/** How a shard is reached over TLS. */
export interface ShardTls extends ShardTlsConfig {
  /**
   * Refuses an own certificate with a CommonName: with authentication on, a shard takes requests without a token for
   * requests of the user of that name.
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
            `its CommonName is "${commonName}": a shard with authentication would take requests without a token for ` +
              "requests of that user; use a certificate without a CommonName",
          );
        }
        return createSecureContext({ ca, cert, key });
      },
    );
  }

  /** Changes when the files have changed. */
  get secureContext(): SecureContext {
    return this.context.get();
  }

  /** When the own certificate expires, ms since the epoch; `Infinity` without one. */
  get expiresAt(): number {
    return this.context.material.expiresAt;
  }

  /** For the next connection to `host`. */
  connectOptions(host: string): ConnectionOptions {
    const name = this.nameFor(host);
    return {
      secureContext: this.secureContext,
      // Addresses are not announced.
      servername: isIP(name) ? "" : name,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: this.verifies,
      checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
    };
  }

  get verifies(): boolean {
    return this.options.insecureSkipVerify !== true;
  }

  /** What the certificate of an endpoint on `host` has to be for. */
  nameFor(host: string): string {
    return this.options.serverName ?? host;
  }

  /** Why a connection to `host` has failed, if TLS is the reason. */
  problem(failure: TlsFailure, host: string, isHandshakeDone: boolean): string | undefined {
    return serverProblem(failure, { ...this.options, name: this.nameFor(host) }, isHandshakeDone);
  }

  /** Reads the files again. */
  reload(): void {
    this.context.reload();
  }
}
