import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { formatHostPort, parseHostPort } from "../config/address.js";

/**
 * The addresses with a port of the system's choice in place of each port 0, for what has to know the port before
 * it is bound (clients are told where the members are). Someone else may take it in between; binding then fails.
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
