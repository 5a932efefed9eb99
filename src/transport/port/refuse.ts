import type { Socket } from "node:net";
import { ErrorCode, FrameType } from "../../http2/protocol.js";

const TEXT = "too many connections";
/** How long a client may take to read the refusal. */
const LINGER_MS = 1_000;

const HTTP1 = [
  "HTTP/1.1 503 Service Unavailable",
  "content-type: text/plain; charset=utf-8",
  "connection: close",
  `content-length: ${TEXT.length + 1}`,
  "",
  `${TEXT}\n`,
].join("\r\n");

/** Sends the error "too many connections" in the client's protocol and closes the connection. */
export function refuse(socket: Socket, isHttp2: boolean): void {
  socket.resume();
  socket.end(isHttp2 ? goaway() : HTTP1);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once("close", () => clearTimeout(timer));
}

/** An empty SETTINGS frame and a GOAWAY frame. */
function goaway(): Buffer {
  const bytes = Buffer.alloc(9 + 9 + 8 + TEXT.length);
  bytes[3] = FrameType.SETTINGS;
  bytes.writeUIntBE(8 + TEXT.length, 9, 3);
  bytes[12] = FrameType.GOAWAY;
  bytes.writeUInt32BE(ErrorCode.ENHANCE_YOUR_CALM, 22);
  bytes.write(TEXT, 26, "latin1");
  return bytes;
}
