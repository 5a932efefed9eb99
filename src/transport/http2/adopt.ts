import { type OnReadOpts, Socket, type SocketConstructorOpts } from "node:net";

/** What Node keeps a connection by. Not documented, but the same in all its versions so far. */
interface WithHandle {
  _handle: { useUserBuffer?: unknown } | null | undefined;
}

/**
 * The connection of `accepted`, as a socket that reads with `onread`: Node offers that to those who connect, not for what a
 * server accepts. `accepted` is closed with it, and it with `accepted`. Undefined where that is not possible, as with
 * TLS: nothing has been touched then.
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
