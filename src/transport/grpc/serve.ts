import {
  type ConnectionInjector,
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  setLogVerbosity,
} from "@grpc/grpc-js";
import type { Handlers } from "../../rpc/call.js";
import { etcd } from "../../status/etcd.js";
import { HTTP2_DEFAULTS } from "../http2Settings.js";
import { CallObserver } from "../observer.js";
import { Port } from "../port/port.js";
import { type GrpcOptions, type GrpcServer, HIGH_WATER_BYTES } from "../server.js";
import { GrpcStream } from "./stream.js";
import { GrpcUnary } from "./unary.js";

/**
 * grpc-js buffers a message of any announced size up to its own limit. Our limit is checked on the complete message, to
 * return etcd's text; grpc-js' limit, this multiple of ours, bounds the memory.
 */
const HARD_LIMIT_FACTOR = 4;

/** Serves `handlers` over grpc-js. Rejects with the errors of `Port.open`. */
export async function serveGrpc(handlers: Handlers, options: GrpcOptions): Promise<GrpcServer> {
  // Failures reach our own log as errors; grpc-js would also write them to stderr.
  setLogVerbosity(logVerbosity.NONE);
  const { maxReceiveBytes, highWaterBytes = HIGH_WATER_BYTES, observer = new CallObserver() } = options;
  const { maxStreams, keepaliveIntervalMs, keepaliveTimeoutMs } = options.http2 ?? HTTP2_DEFAULTS;
  const server = new Server({
    "grpc.max_receive_message_length": maxReceiveBytes * HARD_LIMIT_FACTOR,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": maxStreams,
    "grpc.keepalive_time_ms": keepaliveIntervalMs,
    "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
    "grpc.enable_channelz": 0,
  });
  const streams = new Set<GrpcStream>();
  for (const [path, handler] of handlers.unary) {
    const method = observer.stats.of(path);
    const serve = (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
      new GrpcUnary(call, done, method, observer).run(handler, maxReceiveBytes);
    server.register(path, serve, identity, identity, "unary");
  }
  for (const [path, handler] of handlers.stream) {
    const method = observer.stats.of(path, true);
    const limits = { maxReceiveBytes, highWaterBytes };
    const serve = (call: ServerDuplexStream<Buffer, Buffer>) => {
      const stream = new GrpcStream(call, method, observer, limits, () => streams.delete(stream));
      streams.add(stream);
      handler(stream.call);
    };
    server.register(path, serve, identity, identity, "bidi");
  }
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const port = await Port.open(options, (socket, first) => {
    socket.pause();
    socket.unshift(first);
    injector.injectConnection(socket);
  });
  return {
    addresses: port.addresses,
    shutdown: (graceMs) => shutdown(server, injector, port, streams, graceMs),
    reloadCertificates: () => port.reloadCertificates(),
    get certificateExpiresAt() {
      return port.certificateExpiresAt;
    },
  };
}

function identity(bytes: Buffer): Buffer {
  return bytes;
}

async function shutdown(
  server: Server,
  injector: ConnectionInjector,
  port: Port,
  streams: ReadonlySet<GrpcStream>,
  graceMs: number,
): Promise<void> {
  const closed = port.close(graceMs);
  // forceShutdown does not know the connections without channelz. Drain first, because it skips connections that
  // tryShutdown has begun to close.
  injector.drain(graceMs);
  server.tryShutdown(() => {});
  for (const stream of [...streams]) stream.call.abort(etcd.stopped());
  await closed;
}
