import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";

/** How long a client may take from connecting to the end of its first request's headers, ms. */
const HEADERS_TIMEOUT = 20_000;
/** How long a connection may wait for its next request, ms. Longer than the pools of the usual clients keep one. */
const KEEP_ALIVE = 300_000;
/** As much as our HTTP/2 takes, bytes. */
const MAX_HEADER_BYTES = 64 * 1024;

/** Requests that may wait on one connection before no more is read from it. */
const MAX_WAITING = 16;

/** What is answered to requests that cannot be read, by the parser's code. */
const STATUSES: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  HPE_CHUNK_EXTENSIONS_OVERFLOW: "413 Payload Too Large",
};

interface Connection {
  /** Of the request that is being answered. */
  current: ServerResponse | undefined;
  /** Requests that came meanwhile. */
  readonly waiting: [IncomingMessage, ServerResponse][];
}

/**
 * HTTP/1.1 on connections that somebody else has accepted. There is no limit on how long a request or a response
 * takes: both ends of a watch stay open for ever. The requests of one connection are served one after the other: their
 * answers must come in this order anyway, and Node tells nobody when the client of an answer that waits has gone.
 * `Upgrade: h2c` is not taken up, as by etcd: HTTP/2 without TLS needs prior knowledge.
 */
export class Http1Server {
  private readonly server: Server;
  private readonly connections = new Map<Socket, Connection>();
  private readonly timers = new Map<Socket, NodeJS.Timeout>();
  private stopping = false;

  /** `malformed` is called for every connection that is closed because it is no HTTP/1.1. */
  constructor(
    private readonly listener: RequestListener,
    malformed: () => void,
  ) {
    this.server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: KEEP_ALIVE });
    this.server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      if (error.code?.startsWith("HPE_")) malformed();
      const status = STATUSES[error.code ?? ""] ?? "400 Bad Request";
      const head = ["content-type: text/plain; charset=utf-8", "connection: close"].join("\r\n");
      // What does not even begin as HTTP/1 may be a broken HTTP/2, whose peer could not read this answer.
      if (socket.writable && error.code !== "HPE_INVALID_METHOD")
        socket.write(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${status}`);
      socket.destroy(error);
    });
    this.server.on("request", (request, response) => {
      this.begin(request, response);
    });
  }

  /** Takes over a connection of which `first` has been read. */
  take(socket: Socket, first: Buffer): void {
    this.connections.set(socket, { current: undefined, waiting: [] });
    this.arm(socket, HEADERS_TIMEOUT);
    socket.once("close", () => {
      this.connections.delete(socket);
      this.disarm(socket);
    });
    socket.pause();
    socket.unshift(first);
    this.server.emit("connection", socket);
    socket.resume();
  }

  /**
   * Closes idle connections, and each other one after the answers that it waits for. What streams is ended by whoever
   * streams it.
   */
  drain(): void {
    this.stopping = true;
    for (const [socket, { current }] of this.connections) {
      if (current === undefined) socket.destroy();
      else if (!current.headersSent) current.setHeader("connection", "close");
    }
  }

  // The server's own timeouts work only for connections that it has accepted itself.
  private arm(socket: Socket, delay: number): void {
    const timer = setTimeout(() => socket.destroy(), delay).unref();
    this.timers.set(socket, timer);
  }

  private disarm(socket: Socket): void {
    clearTimeout(this.timers.get(socket));
    this.timers.delete(socket);
  }

  private begin(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const connection = this.connections.get(socket);
    if (connection === undefined) return;
    if (connection.current === undefined) {
      this.disarm(socket);
      this.serve(connection, request, response);
      return;
    }
    if (connection.waiting.push([request, response]) === MAX_WAITING) socket.pause();
  }

  private serve(connection: Connection, request: IncomingMessage, response: ServerResponse): void {
    connection.current = response;
    if (this.stopping) response.setHeader("connection", "close");
    response.once("close", () => this.served(connection, request.socket, response));
    this.listener(request, response);
  }

  private served(connection: Connection, socket: Socket, response: ServerResponse): void {
    const { waiting } = connection;
    connection.current = undefined;
    // After an answer that was the connection's last, what waits must not be begun: nobody would hear what became of it.
    const last = !response.shouldKeepAlive || response.getHeader("connection") === "close";
    if (socket.destroyed || last) return;
    if (waiting.length === MAX_WAITING) socket.resume();
    const next = waiting.shift();
    if (next !== undefined) this.serve(connection, ...next);
    else if (this.stopping) socket.destroySoon();
    else this.arm(socket, KEEP_ALIVE + HEADERS_TIMEOUT);
  }
}

/** What etcd answers to a path that it does not know. */
export const notFound: RequestListener = (_request, response) => {
  response.writeHead(404, {
    "content-type": "text/plain; charset=utf-8",
    "x-content-type-options": "nosniff",
  });
  response.end("404 page not found\n");
};
