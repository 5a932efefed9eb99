import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { ListenTlsConfig } from "../../config/tls.js";
import { clientProblem, type TlsFailure } from "../../tls/reason.js";
import { Reloading, type TlsLog } from "../../tls/reloading.js";

export type ListenTls = ListenTlsConfig;

/** How long a handshake may take, ms. */
const HANDSHAKE_TIMEOUT = 10_000;
/** HTTP/1.1 for all who can: those that offer both are no gRPC clients, and what they want to have is JSON. */
const PROTOCOLS = ["http/1.1", "h2"];

/** TLS on connections that somebody else has accepted. */
export class TlsServer {
  private readonly server: Server;
  private readonly context: Reloading<void>;

  /** Throws `TlsFileError` when a file cannot be used. `failed` is told why a handshake has failed. */
  constructor(
    { certFile, keyFile, clientCaFile, minVersion, ciphers }: ListenTls,
    log: TlsLog,
    secured: (socket: TLSSocket) => void,
    failed: (reason: string, address: string | undefined) => void,
  ) {
    this.server = createServer({
      ALPNProtocols: PROTOCOLS,
      requestCert: clientCaFile !== undefined,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_TIMEOUT,
    });
    const files = { caFile: clientCaFile, certFile, keyFile };
    this.context = new Reloading(files, "listen", log, ({ ca, cert, key }) => {
      this.server.setSecureContext({
        ca,
        cert,
        key,
        minVersion,
        ciphers: ciphers?.join(":"),
        honorCipherOrder: true,
      });
    });
    this.server.on("secureConnection", secured);
    this.server.on("tlsClientError", (error: TlsFailure, socket) => {
      // A certificate that is not accepted shows up as a closed connection otherwise.
      const refused = socket.authorizationError as unknown as string | undefined;
      const failure = refused ? { code: refused, message: refused } : error;
      failed(clientProblem(failure, clientCaFile), socket.remoteAddress);
      socket.destroy();
    });
  }

  /** When the certificate in use expires, ms since the epoch. */
  get expiresAt(): number {
    return this.context.material.expiresAt;
  }

  /** Begins the handshake, with the certificate that the files hold now. */
  accept(socket: Socket): void {
    this.context.get();
    this.server.emit("connection", socket);
  }

  /** Reads the files again. */
  reload(): void {
    this.context.reload();
  }
}
