import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { PacedSocket } from "./pacedSocket.js";

/** How long a client may take from connecting to the end of its first request's headers. */
const HEADERS_TIMEOUT_MS = 20_000;
/** How long a connection may wait for its next request: longer than the pools of common clients keep one. */
const KEEP_ALIVE_MS = 300_000;
/** The limit of our HTTP/2. */
const MAX_HEADER_BYTES = 64 * 1024;

/** Statuses for unreadable requests, by the parser's error code. */
const STATUSES: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  HPE_CHUNK_EXTENSIONS_OVERFLOW: "413 Payload Too Large",
};

interface Connection {
  readonly socket: PacedSocket;
  /** Closes the connection; runs while no request is in progress. */
  timer: NodeJS.Timeout | undefined;
  /** The request in progress. */
  current: Exchange | undefined;
  /** Requests that arrived together with the end of `current`; rarely more than one. */
  readonly waiting: Exchange[];
}

type Exchange = readonly [IncomingMessage, ServerResponse];

/**
 * HTTP/1.1 on connections accepted elsewhere. Requests and responses may take any time, because a watch keeps both open.
 * The requests of one connection are served one at a time: their responses must be sent in order anyway, and Node does
 * not report that a client has gone while its response waits behind another. Like etcd, the server ignores
 * `Upgrade: h2c`: HTTP/2 without TLS needs prior knowledge.
 */
export class Http1Server {
  private readonly server: Server;
  private readonly connections = new Map<unknown, Connection>();
  private stopping = false;

  constructor(
    private readonly listener: RequestListener,
    private readonly refused: (reason: "malformed" | "pipelined") => void,
  ) {
    this.server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: KEEP_ALIVE_MS });
    this.server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      if (error.code?.startsWith("HPE_")) refused("malformed");
      const status = STATUSES[error.code ?? ""] ?? "400 Bad Request";
      const head = ["content-type: text/plain; charset=utf-8", "connection: close"].join("\r\n");
      // What does not even begin as HTTP/1 may be broken HTTP/2, whose peer could not read this response.
      if (socket.writable && error.code !== "HPE_INVALID_METHOD")
        socket.write(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${status}`);
      socket.destroy(error);
    });
    this.server.on("request", (request, response) => {
      this.begin(request, response);
    });
  }

  /** Serves `accepted`, from which `first` has already been read. */
  take(accepted: Socket, first: Buffer): void {
    const socket = new PacedSocket(accepted, {
      isBusy: () => isBusy(connection),
      stuck: () => this.refused("pipelined"),
    });
    const connection: Connection = { socket, timer: undefined, current: undefined, waiting: [] };
    this.connections.set(socket, connection);
    this.arm(connection, HEADERS_TIMEOUT_MS);
    socket.once("close", () => {
      this.connections.delete(socket);
      clearTimeout(connection.timer);
    });
    this.server.emit("connection", socket);
    socket.receive(first);
  }

  /** Closes idle connections at once and the others after their response. Handlers must end responses that stream. */
  drain(): void {
    this.stopping = true;
    for (const { socket, current } of this.connections.values()) {
      if (current === undefined) socket.destroy();
      else if (!current[1].headersSent) current[1].setHeader("connection", "close");
    }
  }

  // The timeouts of Node's server apply only to connections that it has accepted itself.
  private arm(connection: Connection, delayMs: number): void {
    clearTimeout(connection.timer);
    connection.timer = setTimeout(() => connection.socket.destroy(), delayMs).unref();
  }

  private begin(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.connections.get(request.socket);
    if (connection === undefined) return;
    if (connection.current === undefined) this.serve(connection, [request, response]);
    else connection.waiting.push([request, response]);
  }

  private serve(connection: Connection, exchange: Exchange): void {
    const [request, response] = exchange;
    connection.current = exchange;
    clearTimeout(connection.timer);
    if (this.stopping) response.setHeader("connection", "close");
    response.once("close", () => this.served(connection, response));
    this.listener(request, response);
  }

  private served(connection: Connection, response: ServerResponse): void {
    const { socket, waiting } = connection;
    // No request may start after the connection's last response: its client would never learn the result.
    const last = !response.shouldKeepAlive || response.getHeader("connection") === "close";
    if (socket.destroyed || last) return;
    connection.current = undefined;
    const next = waiting.shift();
    if (next !== undefined) this.serve(connection, next);
    else if (this.stopping) socket.destroySoon();
    else this.arm(connection, KEEP_ALIVE_MS + HEADERS_TIMEOUT_MS);
    socket.proceedLater();
  }
}

/** True while nothing more should be read: the request in progress has arrived completely, or another waits behind it. */
function isBusy({ current, waiting }: Connection): boolean {
  return current !== undefined && (waiting.length > 0 || current[0].complete);
}

/** etcd's response to an unknown path. */
export const notFound: RequestListener = (_request, response) => {
  response.writeHead(404, {
    "content-type": "text/plain; charset=utf-8",
    "x-content-type-options": "nosniff",
  });
  response.end("404 page not found\n");
};
