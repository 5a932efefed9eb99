import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { PacedSocket } from "./paced.js";

/** How long a client may take from connecting to the end of its first request's headers, ms. */
const HEADERS_TIMEOUT = 20_000;
/** How long a connection may wait for its next request, ms. Longer than the pools of the usual clients keep one. */
const KEEP_ALIVE = 300_000;
/** As much as our HTTP/2 takes, bytes. */
const MAX_HEADER_BYTES = 64 * 1024;

/** What is answered to requests that cannot be read, by the parser's code. */
const STATUSES: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  HPE_CHUNK_EXTENSIONS_OVERFLOW: "413 Payload Too Large",
};

interface Connection {
  readonly socket: PacedSocket;
  /** Closes the connection while no request is in progress. */
  timer: NodeJS.Timeout | undefined;
  /** The request that is being answered. */
  current: Exchange | undefined;
  /** The request behind it, if it has come along with the body of `current`; hardly ever more. */
  readonly waiting: Exchange[];
}

type Exchange = readonly [IncomingMessage, ServerResponse];

/**
 * HTTP/1.1 on connections that somebody else has accepted. There is no limit on how long a request or a response
 * takes: both ends of a watch stay open for ever. The requests of one connection are served one after the other: their
 * answers must come in this order anyway, and Node tells nobody when the client of an answer that waits has gone.
 * `Upgrade: h2c` is not taken up, as by etcd: HTTP/2 without TLS needs prior knowledge.
 */
export class Http1Server {
  private readonly server: Server;
  private readonly connections = new Map<unknown, Connection>();
  private stopping = false;

  constructor(
    private readonly listener: RequestListener,
    private readonly refused: (reason: "malformed" | "pipelined") => void,
  ) {
    this.server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: KEEP_ALIVE });
    this.server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      if (error.code?.startsWith("HPE_")) refused("malformed");
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
  take(accepted: Socket, first: Buffer): void {
    const socket = new PacedSocket(accepted, {
      isBusy: () => isBusy(connection),
      stuck: () => this.refused("pipelined"),
    });
    const connection: Connection = { socket, timer: undefined, current: undefined, waiting: [] };
    this.connections.set(socket, connection);
    this.arm(connection, HEADERS_TIMEOUT);
    socket.once("close", () => {
      this.connections.delete(socket);
      clearTimeout(connection.timer);
    });
    this.server.emit("connection", socket);
    socket.receive(first);
  }

  /**
   * Closes idle connections, and each other one after the answers that it waits for. What streams is ended by whoever
   * streams it.
   */
  drain(): void {
    this.stopping = true;
    for (const { socket, current } of this.connections.values()) {
      if (current === undefined) socket.destroy();
      else if (!current[1].headersSent) current[1].setHeader("connection", "close");
    }
  }

  // The server's own timeouts work only for connections that it has accepted itself.
  private arm(connection: Connection, delay: number): void {
    clearTimeout(connection.timer);
    connection.timer = setTimeout(() => connection.socket.destroy(), delay).unref();
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
    // After an answer that was the connection's last, what follows must not be begun: nobody would hear what became of it.
    const last = !response.shouldKeepAlive || response.getHeader("connection") === "close";
    if (socket.destroyed || last) return;
    connection.current = undefined;
    const next = waiting.shift();
    if (next !== undefined) this.serve(connection, next);
    else if (this.stopping) socket.destroySoon();
    else this.arm(connection, KEEP_ALIVE + HEADERS_TIMEOUT);
    socket.proceedLater();
  }
}

/** Whether a connection is to be read no further: the request in progress has come completely, or one waits behind it. */
function isBusy({ current, waiting }: Connection): boolean {
  return current !== undefined && (waiting.length > 0 || current[0].complete);
}

/** What etcd answers to a path that it does not know. */
export const notFound: RequestListener = (_request, response) => {
  response.writeHead(404, {
    "content-type": "text/plain; charset=utf-8",
    "x-content-type-options": "nosniff",
  });
  response.end("404 page not found\n");
};
