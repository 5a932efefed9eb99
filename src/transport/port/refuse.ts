import type { Socket } from "node:net";
import { ErrorCode, FrameType } from "../../http2/protocol.js";

const TEXT = "too many connections";
/** How long a client may take to read why it is refused, ms. */
const LINGER = 1_000;

const HTTP1 = [
  "HTTP/1.1 503 Service Unavailable",
  "content-type: text/plain; charset=utf-8",
  "connection: close",
  `content-length: ${TEXT.length + 1}`,
  "",
  `${TEXT}\n`,
].join("\r\n");

/** Tells a client, in what it speaks, that there are too many connections, and closes this one. */
export function refuse(socket: Socket, isHttp2: boolean): void {
  socket.resume();
  socket.end(isHttp2 ? goaway() : HTTP1);
  const timer = setTimeout(() => socket.destroy(), LINGER).unref();
  socket.once("close", () => clearTimeout(timer));
}

/** Empty settings, and the end of the connection. */
function goaway(): Buffer {
  const bytes = Buffer.alloc(9 + 9 + 8 + TEXT.length);
  bytes[3] = FrameType.SETTINGS;
  bytes.writeUIntBE(8 + TEXT.length, 9, 3);
  bytes[12] = FrameType.GOAWAY;
  bytes.writeUInt32BE(ErrorCode.ENHANCE_YOUR_CALM, 22);
  bytes.write(TEXT, 26, "latin1");
  return bytes;
}
