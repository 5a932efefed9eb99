import type { Socket } from "node:net";
import { PREFACE } from "../../http2/protocol.js";

/** How long a client may take to show its protocol. */
const SNIFF_TIMEOUT_MS = 20_000;

/**
 * Reads the beginning of a connection until it is clear whether the client speaks HTTP/2 with prior knowledge. Then it
 * removes its listeners and calls `decided` with everything read. A client that takes longer than 20 s is disconnected,
 * and `silent` called.
 */
export function sniff(
  socket: Socket,
  decided: (isHttp2: boolean, first: Buffer) => void,
  silent: () => void,
): void {
  let matched = 0;
  let held: Buffer | undefined;
  const timer = setTimeout(() => {
    socket.destroy();
    silent();
  }, SNIFF_TIMEOUT_MS).unref();
  const onClose = () => clearTimeout(timer);
  const onData = (chunk: Buffer) => {
    const take = Math.min(PREFACE.length - matched, chunk.length);
    const matches = PREFACE.compare(chunk, 0, take, matched, matched + take) === 0;
    matched += take;
    const first = held === undefined ? chunk : Buffer.concat([held, chunk]);
    if (matches && matched < PREFACE.length) {
      held = first;
      return;
    }
    clearTimeout(timer);
    socket.off("data", onData).off("close", onClose);
    decided(matches, first);
  };
  socket.on("data", onData).on("close", onClose);
}
