import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { formatHostPort, parseHostPort } from "../config/address.js";

/**
 * Replaces each port 0 by a free port. The member list needs the ports before they are bound. If another process takes a
 * port in between, binding fails.
 */
export function choosePorts(addresses: readonly string[]): Promise<string[]> {
  return Promise.all(
    addresses.map(async (address) => {
      const { host, port } = parseHostPort(address);
      if (port !== 0) return address;
      const server = createServer().listen({ host, port: 0, exclusive: true });
      await once(server, "listening");
      const chosen = (server.address() as AddressInfo).port;
      server.close();
      await once(server, "close");
      return formatHostPort({ host, port: chosen });
    }),
  );
}
