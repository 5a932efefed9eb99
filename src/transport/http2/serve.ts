import type { Socket } from "node:net";
import { formatHostPort } from "../../config/address.js";
import type { ConnectionLimits } from "../../http2/limits.js";
import { readIntoSharedSlabs } from "../../http2/readSlabs.js";
import type { RequestHead } from "../../http2/request.js";
import { ServerConnection } from "../../http2/server.js";
import type { Stream } from "../../http2/stream.js";
import type { Handlers, StreamHandler, UnaryHandler } from "../../rpc/call.js";
import type { CallState } from "../../rpc/callState.js";
import { ConnectionStats } from "../../stats/connections.js";
import type { MethodStats } from "../../stats/methods.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { Deadlines } from "../../turn/deadlines.js";
import { HTTP2_DEFAULTS, limitsOf } from "../http2Settings.js";
import { MAX_REQUEST_BYTES, MAX_UNREAD_BYTES } from "../limits.js";
import { CallObserver } from "../observer.js";
import { Port } from "../port/port.js";
import { type GrpcOptions, type GrpcServer, HIGH_WATER_BYTES } from "../server.js";
import { Turnstile } from "../turnstile.js";
import { adopt } from "./adopt.js";
import { BidiStream } from "./bidi.js";
import { type CallContext, ResponseBlocks } from "./call.js";
import { NotGrpcStream } from "./notGrpc.js";
import { UnaryStream } from "./unary.js";
import { unknownMethod } from "./unknownMethod.js";

/** Default limits of a client's connection. */
export const SERVER_LIMITS: ConnectionLimits = {
  ...limitsOf(HTTP2_DEFAULTS),
  streamWindow: 512 * 1024,
  connectionWindow: 16 * 1024 * 1024,
  maxHeaderBytes: 64 * 1024,
  maxBufferedBytes: 256 * 1024 * 1024,
  maxBufferedTotal: MAX_REQUEST_BYTES,
  freeMessageBytes: 0,
  messageRoom: 16 * 1024,
  maxQueuedBytes: 512 * 1024 * 1024,
  maxQueuedTotal: MAX_UNREAD_BYTES,
  pingOnlyWithStreams: false,
};

export interface Http2Options extends GrpcOptions {
  /** Overrides `SERVER_LIMITS` and the `http2` settings. */
  readonly limits?: Partial<ConnectionLimits>;
}

/** Serves `handlers` over our own HTTP/2. Rejects with the errors of `Port.open`. */
export async function serveHttp2(handlers: Handlers, options: Http2Options): Promise<GrpcServer> {
  const server = new Http2Server(handlers, options);
  const port = await Port.open(options, (socket, first) => server.take(socket, first));
  return {
    addresses: port.addresses,
    shutdown: (graceMs) => server.shutdown(port, graceMs),
    reloadCertificates: () => port.reloadCertificates(),
    get certificateExpiresAt() {
      return port.certificateExpiresAt;
    },
  };
}

class Http2Server {
  private readonly limits: ConnectionLimits;
  private readonly connections = new Set<ServerConnection>();
  private readonly deadlines = new Deadlines<CallState>();
  private readonly stats: ConnectionStats;
  private readonly turnstile = new Turnstile();
  private stopping = false;
  private readonly observer: CallObserver;
  private readonly unary = new Map<string, Method<UnaryHandler>>();
  private readonly stream = new Map<string, Method<StreamHandler>>();
  /** Full names of the services that have a handler. */
  private readonly services = new Set<string>();

  constructor(
    handlers: Handlers,
    private readonly options: Http2Options,
  ) {
    const { http2 = HTTP2_DEFAULTS, limits } = options;
    this.limits = { ...SERVER_LIMITS, ...limitsOf(http2), ...limits };
    this.observer = options.observer ?? new CallObserver();
    this.stats = options.connections ?? new ConnectionStats();
    const { stats } = this.observer;
    for (const [path, handler] of handlers.unary) this.unary.set(path, { handler, stats: stats.of(path) });
    for (const [path, handler] of handlers.stream) {
      this.stream.set(path, { handler, stats: stats.of(path, true) });
    }
    for (const path of [...this.unary.keys(), ...this.stream.keys()]) {
      this.services.add(path.slice(1, path.lastIndexOf("/")));
    }
  }

  private accept(connection: ServerConnection, id: number, head: RequestHead, context: CallContext): Stream {
    if (!head.isGrpc && !head.tooLarge)
      return new NotGrpcStream(connection, id, head.method === "POST" ? 415 : 405);
    const unary = this.unary.get(head.path);
    if (unary !== undefined)
      return new UnaryStream(connection, id, head, context, unary.stats, unary.handler);
    const stream = this.stream.get(head.path);
    if (stream !== undefined && !this.stopping) {
      return new BidiStream(connection, id, head, context, stream.stats, stream.handler);
    }
    const stats = stream?.stats ?? this.observer.unknown;
    return new BidiStream(connection, id, head, context, stats, (call) =>
      call.end(this.refusal(head, stream !== undefined)),
    );
  }

  async shutdown(port: Port, graceMs: number): Promise<void> {
    this.stopping = true;
    const closed = port.close(graceMs);
    for (const connection of [...this.connections]) {
      connection.drain();
      for (const stream of connection.streams) {
        if (stream instanceof BidiStream) stream.call.abort(etcd.stopped());
      }
    }
    const cut = setTimeout(() => {
      for (const connection of [...this.connections]) connection.destroy("the server is shutting down");
    }, graceMs);
    await closed;
    clearTimeout(cut);
  }

  /** Serves `accepted`, from which `first` has already been read. */
  take(accepted: Socket, first: Buffer): void {
    const { maxReceiveBytes, highWaterBytes = HIGH_WATER_BYTES } = this.options;
    const { observer, deadlines, stats } = this;
    const blocks = new ResponseBlocks();
    const usage = { watchBytes: 0, requestBytes: 0, client: peerOf(accepted) };
    const lane = this.turnstile.lane();
    const context = { blocks, maxReceiveBytes, highWaterBytes, observer, deadlines, usage, lane };
    const socket = adopt(accepted, () => readIntoSharedSlabs((piece) => connection.take(piece))) ?? accepted;
    const connection: ServerConnection = new ServerConnection(socket, this.limits, {
      accept: (connection, id, head) => this.accept(connection, id, head, context),
      onClosed: (connection) => this.connections.delete(connection),
      queued: stats.queued,
      received: stats.requests,
      onFault: ({ bound }) => this.stats.refused[bound ?? "protocol"]++,
      onStreamRefused: () => this.stats.refusedStreams++,
    });
    this.connections.add(connection);
    connection.receive(first);
  }

  private refusal(head: RequestHead, known: boolean): StatusError {
    if (head.tooLarge) return new StatusError(Code.RESOURCE_EXHAUSTED, "the request's metadata is too large");
    if (known) return etcd.stopped();
    return unknownMethod(head.path, this.services);
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string | undefined {
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  return formatHostPort({ host: remoteAddress, port: remotePort });
}

interface Method<Handler> {
  readonly handler: Handler;
  readonly stats: MethodStats;
}
