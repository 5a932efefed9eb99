import { createServer } from "node:net";

/**
 * Ports are drawn below the range from which kernels take the ports of outgoing connections (Linux: from
 * 32768). Otherwise a client that keeps reconnecting to a stopped server could be given that very port
 * and connect to itself, and the server could not come back.
 */
const FIRST = 10_240;
const LAST = 32_767;

/** True when a listener can be bound to the port on the loopback interface right now. */
export function isFree(port: number, host = "127.0.0.1"): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * A loopback port that is free now. Nothing reserves it: whoever starts a server on it must be ready to
 * see it taken and ask again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1));
    if (await isFree(port)) return port;
  }
}
