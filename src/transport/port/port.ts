import type { RequestListener } from "node:http";
import type { Server, Socket } from "node:net";
import { schema } from "../../config/schema.js";
import type { ListenTlsConfig } from "../../config/tls.js";
import { ConnectionStats, type Refusal } from "../../stats/connections.js";
import type { TlsLog } from "../../tls/reloading.js";
import { Http1Server, notFound } from "./http1.js";
import { listen } from "./listen.js";
import { refuse } from "./refuse.js";
import { sniff } from "./sniff.js";
import { TlsServer } from "./tlsServer.js";

export interface PortOptions {
  /** At least one address: `host:port`, `[ipv6]:port` or `unix:/path`. Port 0 lets the system choose. */
  readonly listen: readonly string[];
  /** Serves HTTP/1.1. Default: 404 for every path. */
  readonly http1?: RequestListener;
  /** Default: no TLS. */
  readonly tls?: ListenTlsConfig | undefined;
  /** Same as the setting `limits.maxConnections`, with the same default. */
  readonly maxConnections?: number;
  /** Number of file handles that connections may use. Default: no limit. */
  readonly connectionHandles?: number;
  /** Counts the connections. */
  readonly connections?: ConnectionStats;
  readonly log?: TlsLog;
}

/** Takes over an HTTP/2 connection from which `first` has already been read. */
export type Http2Taker = (socket: Socket, first: Buffer) => void;

const MAX_CONNECTIONS = schema.shape.limits.parse(undefined).maxConnections;
/** Connections above the limit that get an error response; further ones are closed without one. */
const MAX_REFUSED = 100;
/** Minimum time between log lines for the same kind of refusal. */
const LOG_INTERVAL_MS = 10_000;
const SILENT: TlsLog = { info: () => {}, warn: () => {} };

/** The addresses that clients connect to, each of which serves HTTP/2 and HTTP/1.1. */
export class Port {
  readonly stats: ConnectionStats;
  private readonly servers: Server[] = [];
  private readonly bound: string[] = [];
  private readonly http1: Http1Server;
  private readonly tls: TlsServer | undefined;
  private readonly log: TlsLog;
  private readonly maxConnections: number;
  private readonly connectionHandles: number;
  /** All open connections, as accepted. */
  private readonly sockets = new Set<Socket>();
  /** Connections whose protocol is not yet known; with TLS, the decrypted sockets. */
  private readonly unidentified = new Set<Socket>();
  private closing = false;
  /** Time of the last log line for each kind of refusal, and the refusals since then. */
  private readonly logged = new Map<Refusal, { at: number; more: number }>();

  private constructor(
    options: PortOptions,
    private readonly takeHttp2: Http2Taker,
  ) {
    this.stats = options.connections ?? new ConnectionStats();
    this.log = options.log ?? SILENT;
    this.connectionHandles = options.connectionHandles ?? Number.POSITIVE_INFINITY;
    this.maxConnections = Math.min(options.maxConnections ?? MAX_CONNECTIONS, this.connectionHandles);
    this.http1 = new Http1Server(options.http1 ?? notFound, (reason) => {
      this.stats.refused[reason]++;
    });
    if (options.tls === undefined) return;
    this.tls = new TlsServer(
      options.tls,
      this.log,
      (socket) => this.identify(socket),
      (reason, client) => this.countRefusal("tls", { client, reason }, "TLS handshake failed"),
    );
  }

  /**
   * Rejects with `ListenError` when one of the addresses cannot be listened on; then none of them stays open. Rejects with
   * `TlsFileError` when a certificate or key cannot be used.
   */
  static async open(options: PortOptions, takeHttp2: Http2Taker): Promise<Port> {
    const port = new Port(options, takeHttp2);
    try {
      for (const address of options.listen) await port.listen(address);
    } catch (error) {
      for (const server of port.servers) server.close();
      throw error;
    }
    return port;
  }

  /** Addresses with their actual ports, in the order of `listen`. */
  get addresses(): readonly string[] {
    return this.bound;
  }

  /** When the certificate in use expires, in milliseconds since the epoch; undefined without TLS. */
  get certificateExpiresAt(): number | undefined {
    return this.tls?.expiresAt;
  }

  /** Reads certificates and keys again, for new connections. */
  reloadCertificates(): void {
    this.tls?.reload();
  }

  /**
   * Stops accepting connections. For up to `graceMs` milliseconds, HTTP/1.1 requests may finish and HTTP/2 connections
   * be closed by their owner; then all others are cut. Resolves when all connections are closed.
   */
  async close(graceMs: number): Promise<void> {
    const closed = this.servers.map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    this.closing = true;
    for (const socket of this.unidentified) socket.destroy();
    this.http1.drain();
    const cut = setTimeout(() => {
      for (const socket of this.sockets) socket.destroy();
    }, graceMs);
    await Promise.all(closed);
    clearTimeout(cut);
  }

  private async listen(address: string): Promise<void> {
    const { server, address: actual } = await listen(
      address,
      (socket) => this.accept(socket),
      (error) => this.countRefusal("handles", { address, error: error.message }, "cannot accept connections"),
    );
    this.servers.push(server);
    this.bound.push(actual);
  }

  private accept(socket: Socket): void {
    const { stats, tls } = this;
    stats.accepted++;
    stats.open++;
    this.sockets.add(socket);
    // The owner of the connection reacts to "close", for any reason.
    socket.on("error", ignore);
    socket.once("close", () => {
      stats.open--;
      this.sockets.delete(socket);
    });
    if (stats.open > this.maxConnections) {
      const fields = { limit: this.maxConnections };
      // Left to the system, the connection would be closed unnoticed, and the proxy would run out of handles for itself.
      const isOfHandles = this.maxConnections === this.connectionHandles;
      if (!isOfHandles) this.countRefusal("limit", fields, "too many connections");
      else this.countRefusal("handles", fields, "too many connections for the limit of open files");
      // A TLS handshake costs more than a refusal is worth, and a client that waits for the reason keeps a handle.
      if (tls !== undefined || isOfHandles || stats.open > this.maxConnections + MAX_REFUSED)
        socket.destroy();
      else
        sniff(
          socket,
          (isHttp2) => refuse(socket, isHttp2),
          () => this.stats.refused.silent++,
        );
      return;
    }
    if (tls === undefined) this.identify(socket);
    else tls.accept(socket);
  }

  /** Detects the protocol of a connection and hands it over. */
  private identify(socket: Socket): void {
    if (this.closing) {
      socket.destroy();
      return;
    }
    if (this.tls !== undefined) socket.on("error", ignore);
    this.unidentified.add(socket);
    socket.once("close", () => this.unidentified.delete(socket));
    sniff(
      socket,
      (isHttp2, first) => this.handOver(socket, isHttp2, first),
      () =>
        this.countRefusal(
          "silent",
          { client: socket.remoteAddress },
          "client did not show its protocol in time",
        ),
    );
  }

  private handOver(socket: Socket, isHttp2: boolean, first: Buffer): void {
    const { stats } = this;
    const protocol = isHttp2 ? "http2" : "http1";
    stats.acceptedBy[protocol]++;
    stats.openBy[protocol]++;
    stats.queued.connections++;
    stats.requests.connections++;
    socket.once("close", () => {
      stats.openBy[protocol]--;
      stats.queued.connections--;
      stats.requests.connections--;
    });
    this.unidentified.delete(socket);
    if (isHttp2) this.takeHttp2(socket, first);
    else this.http1.take(socket, first);
  }

  private countRefusal(reason: Refusal, fields: object, text: string): void {
    this.stats.refused[reason]++;
    const now = Date.now();
    const last = this.logged.get(reason);
    if (last !== undefined && now - last.at < LOG_INTERVAL_MS) {
      last.more++;
      return;
    }
    this.logged.set(reason, { at: now, more: 0 });
    this.log.warn(last?.more ? { ...fields, more: last.more } : fields, text);
  }
}

function ignore(): void {}
