import type { Server, ServerCredentials } from "@grpc/grpc-js";

/** An address that cannot be listened on. */
export class ListenError extends Error {
  override readonly name = "ListenError";

  /** `code` is the system's, e.g. `EADDRINUSE`; undefined when the address itself is malformed. */
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

/** Binds every address of `listen`, one after the other; answers them with their actual ports. */
export async function bind(
  server: Server,
  listen: readonly string[],
  credentials: ServerCredentials,
): Promise<string[]> {
  const addresses: string[] = [];
  for (const address of listen) addresses.push(await bindOne(server, address, credentials));
  return addresses;
}

function bindOne(server: Server, address: string, credentials: ServerCredentials): Promise<string> {
  return new Promise((resolve, reject) => {
    const refuse = (error: Error) => {
      const code = /\b(E[A-Z]{4,})\b/.exec(error.message)?.[1];
      reject(new ListenError(address, code, error.message));
    };
    try {
      server.bindAsync(address, credentials, (error, port) => {
        if (error) refuse(error);
        else resolve(address.startsWith("unix:") ? address : address.replace(/:\d+$/, `:${port}`));
      });
    } catch (error) {
      refuse(error as Error);
    }
  });
}
