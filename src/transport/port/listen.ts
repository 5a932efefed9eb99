import { createServer, type ListenOptions, type Server, type Socket } from "node:net";
import { formatHostPort, parseHostPort, unixPath } from "../../config/address.js";

/** Listening on an address failed. */
export class ListenError extends Error {
  override readonly name = "ListenError";

  /** `code` is the system's error code, e.g. `EADDRINUSE`; undefined when the address is malformed. */
  constructor(
    readonly address: string,
    readonly code: string | undefined,
    detail: string,
  ) {
    super(`cannot listen on ${address}: ${(code && REASONS[code]) ?? detail}`);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "the address is already in use",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "permission denied",
};

/** Idle time before the first TCP keep-alive probe, as in etcd. */
const TCP_KEEP_ALIVE_MS = 30_000;

/**
 * Listens on `address` (`host:port`, `[ipv6]:port` or `unix:/path`). Resolves with the address, in which port 0 is replaced
 * by the actual port. Rejects with `ListenError`. `failed` is called when the system cannot accept a connection.
 */
export function listen(
  address: string,
  onSocket: (socket: Socket) => void,
  failed: (error: Error) => void,
): Promise<{ server: Server; address: string }> {
  return new Promise((resolve, reject) => {
    const options = listenOptions(address);
    const server = createServer(
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS },
      onSocket,
    );
    const refused = (error: NodeJS.ErrnoException) =>
      reject(new ListenError(address, error.code, error.message));
    server.once("error", refused);
    server.listen(options, () => {
      server.off("error", refused).on("error", failed);
      const bound = server.address();
      const { host } = options;
      const isPort = host !== undefined && bound !== null && typeof bound === "object";
      resolve({ server, address: isPort ? formatHostPort({ host, port: bound.port }) : address });
    });
  });
}

/** Throws `ListenError` for a malformed address. */
function listenOptions(address: string): ListenOptions {
  try {
    const path = unixPath(address);
    if (path !== undefined) return { path };
    // Many clients may connect at once, for example after a restart of this proxy.
    return { ...parseHostPort(address), backlog: 4096 };
  } catch (error) {
    throw new ListenError(address, undefined, (error as Error).message);
  }
}
