import type { RequestListener } from "node:http";
import type { Server, Socket } from "node:net";
import { Http1Server, notFound } from "./http1.js";
import { listen } from "./listen.js";
import { sniff } from "./sniff.js";

export interface PortOptions {
  /** `host:port`, `[ipv6]:port` or `unix:/path` each, at least one; port 0 lets the system choose. */
  readonly listen: readonly string[];
  /** Serves HTTP/1.1. Default: nothing is found. */
  readonly http1?: RequestListener;
}

/** Takes over a connection that speaks HTTP/2, of which `first` has been read. */
export type Http2Taker = (socket: Socket, first: Buffer) => void;

/** The addresses that clients connect to, with HTTP/2 and HTTP/1.1 on each of them. */
export class Port {
  private readonly servers: Server[] = [];
  private readonly bound: string[] = [];
  private readonly http1: Http1Server;
  /** Connections that have not yet shown what they speak. */
  private readonly unknown = new Set<Socket>();

  private constructor(
    http1: RequestListener,
    private readonly takeHttp2: Http2Taker,
  ) {
    this.http1 = new Http1Server(http1);
  }

  /** Rejects with `ListenError` when an address cannot be listened on; none of them is then. */
  static async open(options: PortOptions, takeHttp2: Http2Taker): Promise<Port> {
    const port = new Port(options.http1 ?? notFound, takeHttp2);
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

  /**
   * Accepts nothing new, lets HTTP/1.1 requests finish for up to `graceMs` and then cuts them off. Resolves when all
   * connections are closed; those that speak HTTP/2 are closed by who took them over.
   */
  async close(graceMs: number): Promise<void> {
    const closed = this.servers.map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    for (const socket of this.unknown) socket.destroy();
    this.http1.drain();
    const cut = setTimeout(() => this.http1.destroy(), graceMs);
    await Promise.all(closed);
    clearTimeout(cut);
  }

  private async listen(address: string): Promise<void> {
    const { server, address: actual } = await listen(address, (socket) => this.accept(socket));
    this.servers.push(server);
    this.bound.push(actual);
  }

  private accept(socket: Socket): void {
    // Whoever takes it over looks at the end of the connection, not at the reason.
    socket.on("error", () => {});
    this.unknown.add(socket);
    const forget = () => this.unknown.delete(socket);
    socket.once("close", forget);
    sniff(socket, (isHttp2, first) => {
      forget();
      socket.off("close", forget);
      if (isHttp2) this.takeHttp2(socket, first);
      else this.http1.take(socket, first);
    });
  }
}
