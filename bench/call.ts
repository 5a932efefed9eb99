import { type ClientHttp2Session, connect } from "node:http2";
import { grpcMessage } from "./load/unary.js";

const TIMEOUT_MS = 20_000;

/** Makes one unary gRPC call; see `callAll`. */
export async function call(port: number, path: string, message: Uint8Array): Promise<Uint8Array> {
  const [response] = await callAll(port, path, [message]);
  return response;
}

/**
 * Makes unary gRPC calls over a separate connection, all at once, where speed does not matter. Rejects with the server's
 * status if one has no response.
 */
export async function callAll(
  port: number,
  path: string,
  messages: readonly Uint8Array[],
): Promise<Uint8Array[]> {
  const session = connect(`http://127.0.0.1:${port}`);
  // When the session is lost, each of its streams reports the error.
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
    stream.setTimeout(TIMEOUT_MS, () =>
      stream.destroy(new Error(`${path}: no response for ${TIMEOUT_MS} ms`)),
    );
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("error", reject);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const body = Buffer.concat(chunks);
      // A failed gRPC call gets trailers and no message.
      if (body.length < 5) reject(new Error(`${path}: ${status}`));
      else resolve(body.subarray(5));
    });
    stream.end(grpcMessage(message));
  });
}
