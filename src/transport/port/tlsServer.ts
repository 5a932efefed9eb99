import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { ListenTlsConfig } from "../../config/tls.js";
import { clientProblem, type TlsFailure } from "../../tls/reason.js";
import { Reloading, type TlsLog } from "../../tls/reloading.js";

/** How long a handshake may take. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** In order of preference. Clients that offer both do not speak gRPC: they want JSON. */
const ALPN_PROTOCOLS = ["http/1.1", "h2"];

/** TLS on connections accepted elsewhere. */
export class TlsServer {
  private readonly server: Server;
  private readonly context: Reloading<void>;

  /** Throws `TlsFileError` when a file cannot be used. `failed` gets the reason for each failed handshake. */
  constructor(
    { certFile, keyFile, clientCaFile, minVersion, ciphers }: ListenTlsConfig,
    log: TlsLog,
    secured: (socket: TLSSocket) => void,
    failed: (reason: string, address: string | undefined) => void,
  ) {
    this.server = createServer({
      ALPNProtocols: ALPN_PROTOCOLS,
      requestCert: clientCaFile !== undefined,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
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
      // For a rejected certificate, `error` would only say that the connection was closed.
      const refused = socket.authorizationError as unknown as string | undefined;
      const failure = refused ? { code: refused, message: refused } : error;
      failed(clientProblem(failure, clientCaFile), socket.remoteAddress);
      socket.destroy();
    });
  }

  /** When the certificate in use expires, in milliseconds since the epoch. */
  get expiresAt(): number {
    return this.context.material.expiresAt;
  }

  /** Starts the handshake, with the certificate that the files hold now. */
  accept(socket: Socket): void {
    this.context.get();
    this.server.emit("connection", socket);
  }

  /** Reads the files again. */
  reload(): void {
    this.context.reload();
  }
}
