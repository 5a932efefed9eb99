import { createServer } from "node:net";

/**
 * Ports are chosen below the kernel's range for outgoing connections (on Linux, from 32768). Otherwise a client that keeps
 * reconnecting to a stopped server could get that port itself and connect to itself. Then the server could not come back.
 */
const FIRST_PORT = 10_240;
const LAST_PORT = 32_767;

/** True if a server can listen on the port of the loopback interface now. */
export function isFree(port: number, host = "127.0.0.1"): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * Returns a loopback port that is free now. It is not reserved: another process may take it before the caller does.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT + 1));
    if (await isFree(port)) return port;
  }
}
