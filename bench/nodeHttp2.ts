import { connect, createServer } from "node:http2";
import type { AddressInfo } from "node:net";

/*
 * A minimal implementation of unary gRPC calls with `node:http2`, without deadlines, limits or errors. It shows the cost of
 * the module itself.
 */

const PREFIX_BYTES = 5;

/** Serves one method that returns the same response to every call. Resolves to `host:port`. */
export function serveNodeHttp2(response: Uint8Array): Promise<string> {
  const answer = frame(response);
  const server = createServer({ settings: { maxConcurrentStreams: 10_000 } });
  server.on("stream", (stream) => {
    let received = 0;
    stream.on("data", (chunk: Buffer) => {
      received += chunk.length;
    });
    stream.on("end", () => {
      if (received < PREFIX_BYTES) return stream.destroy();
      stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(answer);
    });
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`));
  });
}

/** Starts a call of `path` on one connection. Calls `done` when its response is complete. */
export function callNodeHttp2(
  address: string,
  path: string,
  request: Uint8Array,
): Promise<(done: () => void) => void> {
  const message = frame(request);
  const session = connect(`http://${address}`);
  const headers = {
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc+proto",
    te: "trailers",
  };
  const begin = (done: () => void) => {
    const stream = session.request(headers);
    stream.on("data", () => {});
    stream.on("end", done);
    stream.end(message);
  };
  return new Promise((resolve) => session.once("connect", () => resolve(begin)));
}

/** Adds gRPC's prefix to a message. */
function frame(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(PREFIX_BYTES + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}
