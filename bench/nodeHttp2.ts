import { connect, createServer } from "node:http2";
import type { AddressInfo } from "node:net";

/*
 * The least that Node's own HTTP/2 needs for unary gRPC calls. No deadlines, no limits, no errors: it shows what the module
 * itself costs.
 */

const PREFIX_BYTES = 5;

/** Serves one method that gives the same answer to every call. Resolves to `host:port`. */
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

/** Begins a call of `path` on one connection; `done` when its answer is complete. */
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

/** A message as gRPC frames it. */
function frame(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(PREFIX_BYTES + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}
