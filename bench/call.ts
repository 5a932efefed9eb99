import { type ClientHttp2Session, connect } from "node:http2";
import { grpcMessage } from "./load/unary.js";

const TIMEOUT = 20_000;

/** One unary gRPC call, as `callAll`. */
export async function call(port: number, path: string, message: Uint8Array): Promise<Uint8Array> {
  const [response] = await callAll(port, path, [message]);
  return response;
}

/**
 * Unary gRPC calls over a connection of their own, all at once, for what need not be fast. Rejects with the server's
 * status when one has no answer.
 */
export async function callAll(
  port: number,
  path: string,
  messages: readonly Uint8Array[],
): Promise<Uint8Array[]> {
  const session = connect(`http://127.0.0.1:${port}`);
  // Each stream that is lost with its session tells.
  session.on("error", () => {});
  try {
    return await Promise.all(messages.map((message) => ask(session, path, message)));
  } finally {
    session.destroy();
  }
}

function ask(session: ClientHttp2Session, path: string, message: Uint8Array): Promise<Uint8Array> {
  return new Promise<Uint8Array>((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const chunks: Buffer[] = [];
    let status = "no status";
    const note = (headers: Record<string, unknown>) => {
      if (headers["grpc-status"] !== undefined)
        status = `${headers["grpc-status"]} ${headers["grpc-message"]}`;
    };
    stream.setTimeout(TIMEOUT, () => stream.destroy(new Error(`${path}: no answer for ${TIMEOUT} ms`)));
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("error", reject);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const body = Buffer.concat(chunks);
      // gRPC servers answer a failed call with trailers and no message.
      if (body.length < 5) reject(new Error(`${path}: ${status}`));
      else resolve(body.subarray(5));
    });
    stream.end(grpcMessage(message));
  });
}
