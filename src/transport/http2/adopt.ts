import { type OnReadOpts, Socket, type SocketConstructorOpts } from "node:net";

/** Node's internal handle of a connection: undocumented, but the same in all versions so far. */
interface WithHandle {
  _handle: { useUserBuffer?: unknown } | null | undefined;
}

/**
 * Takes over the connection of `accepted` as a socket that reads with `onread`, which Node offers for outgoing connections
 * only. Closing either socket closes the other. Returns undefined, and leaves `accepted` untouched, where this is not
 * possible, as with TLS.
 */
export function adopt(accepted: Socket, onread: () => OnReadOpts): Socket | undefined {
  const owner = accepted as unknown as WithHandle;
  const handle = owner._handle;
  if ("encrypted" in accepted || typeof handle?.useUserBuffer !== "function") return undefined;
  owner._handle = null;
  const socket = new Socket({ handle, onread: onread() } as SocketConstructorOpts);
  socket.once("close", () => accepted.destroy());
  accepted.once("close", () => socket.destroy());
  return socket;
}
