import type { RequestListener } from "node:http";
import type { Server, Socket } from "node:net";
import { schema } from "../../config/schema.js";
import { ConnectionStats, type Refusal } from "../../stats/connections.js";
import type { TlsLog } from "../../tls/reloading.js";
import { Http1Server, notFound } from "./http1.js";
import { listen } from "./listen.js";
import { refuse } from "./refuse.js";
import { sniff } from "./sniff.js";
import { type ListenTls, TlsServer } from "./tls.js";

export interface PortOptions {
  /** `host:port`, `[ipv6]:port` or `unix:/path` each, at least one; port 0 lets the system choose. */
  readonly listen: readonly string[];
  /** Serves HTTP/1.1. Default: nothing is found. */
  readonly http1?: RequestListener;
  /** Default: no TLS. */
  readonly tls?: ListenTls | undefined;
  /** As `limits.maxConnections`, and by default that setting's default. */
  readonly maxConnections?: number;
  /** Connections that the process has file handles for. Default: no limit. */
  readonly connectionHandles?: number;
  /** Counts the connections. */
  readonly connections?: ConnectionStats;
  readonly log?: TlsLog;
}

/** Takes over a connection that speaks HTTP/2, of which `first` has been read. */
export type Http2Taker = (socket: Socket, first: Buffer) => void;

const MAX_CONNECTIONS = schema.shape.limits.parse(undefined).maxConnections;
/** So many more are told why they are refused; what comes on top is closed without a word. */
const MAX_REFUSED = 100;
/** Refusals for the same reason are logged once in this time, ms. */
const LOG_INTERVAL = 10_000;
const SILENT: TlsLog = { info: () => {}, warn: () => {} };

/** The addresses that clients connect to, with HTTP/2 and HTTP/1.1 on each of them. */
export class Port {
  readonly stats: ConnectionStats;
  private readonly servers: Server[] = [];
  private readonly bound: string[] = [];
  private readonly http1: Http1Server;
  private readonly tls: TlsServer | undefined;
  private readonly log: TlsLog;
  private readonly maxConnections: number;
  private readonly connectionHandles: number;
  /** All connections, as they were accepted. */
  private readonly sockets = new Set<Socket>();
  /** Those that have not yet shown what they speak; with TLS, what is inside. */
  private readonly unknown = new Set<Socket>();
  private closing = false;
  /** When refusals were last logged, by reason, and how many there have been since. */
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
   * Rejects with `ListenError` when an address cannot be listened on, none of them is then, and with `TlsFileError`
   * when a certificate or key cannot be used.
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

  /** With the actual ports, in the order of `listen`. */
  get addresses(): readonly string[] {
    return this.bound;
  }

  /** When the certificate in use expires, ms since the epoch; undefined without TLS. */
  get certificateExpiresAt(): number | undefined {
    return this.tls?.expiresAt;
  }

  /** Reads certificates and keys again, for the connections to come. */
  reloadCertificates(): void {
    this.tls?.reload();
  }

  /**
   * Accepts nothing new, lets HTTP/1.1 requests finish, and who took over HTTP/2 close it, for up to `graceMs`, and then
   * cuts what is left. Resolves when all connections are closed.
   */
  async close(graceMs: number): Promise<void> {
    const closed = this.servers.map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    this.closing = true;
    for (const socket of this.unknown) socket.destroy();
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
      (error) =>
        this.countRefusal("handles", { address, error: error.message }, "connections cannot be accepted"),
    );
    this.servers.push(server);
    this.bound.push(actual);
  }

  private accept(socket: Socket): void {
    const { stats, tls } = this;
    stats.accepted++;
    stats.open++;
    this.sockets.add(socket);
    // Whoever takes it over looks at the end of the connection, not at the reason.
    socket.on("error", ignore);
    socket.once("close", () => {
      stats.open--;
      this.sockets.delete(socket);
    });
    if (stats.open > this.maxConnections) {
      const fields = { limit: this.maxConnections };
      // Accepted and closed by us: the system would close it unseen, and the proxy have no handle left for itself.
      const isOfHandles = this.maxConnections === this.connectionHandles;
      if (!isOfHandles) this.countRefusal("limit", fields, "too many connections");
      else this.countRefusal("handles", fields, "too many connections for the limit of open files");
      // A handshake would cost more than the refusal is worth, and whoever waits for a reason keeps a handle.
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

  /** Finds out what a connection speaks and hands it on. */
  private identify(socket: Socket): void {
    if (this.closing) {
      socket.destroy();
      return;
    }
    if (this.tls !== undefined) socket.on("error", ignore);
    this.unknown.add(socket);
    socket.once("close", () => this.unknown.delete(socket));
    sniff(
      socket,
      (isHttp2, first) => this.handOn(socket, isHttp2, first),
      () => this.countRefusal("silent", { client: socket.remoteAddress }, "client says nothing"),
    );
  }

  private handOn(socket: Socket, isHttp2: boolean, first: Buffer): void {
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
    this.unknown.delete(socket);
    if (isHttp2) this.takeHttp2(socket, first);
    else this.http1.take(socket, first);
  }

  private countRefusal(reason: Refusal, fields: object, text: string): void {
    this.stats.refused[reason]++;
    const now = Date.now();
    const last = this.logged.get(reason);
    if (last !== undefined && now - last.at < LOG_INTERVAL) {
      last.more++;
      return;
    }
    this.logged.set(reason, { at: now, more: 0 });
    this.log.warn(last?.more ? { ...fields, more: last.more } : fields, text);
  }
}

function ignore(): void {}
