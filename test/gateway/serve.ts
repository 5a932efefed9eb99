import { once } from "node:events";
import { createServer, type IncomingMessage, request } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach } from "node:test";
import { createLog } from "../../src/ops/log.js";
import type { StreamHandler, UnaryHandler } from "../../src/rpc/call.js";
import type { Probes } from "../../src/services/probes.js";
import { Code, StatusError } from "../../src/status/error.js";
import { createGateway, type Gateway, type GatewayDeps } from "../../src/transport/gateway/gateway.js";
import { KV, Watch } from "../../src/wire/paths.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export interface Fixture {
  readonly endpoint: string;
  readonly gateway: Gateway;
}

export const PROBES: Probes = {
  versions: async () => ({ server: "3.5.7", storage: undefined }),
  alarms: async () => [],
  read: async () => {
    throw new StatusError(Code.UNAVAILABLE, 'shard "a": gone');
  },
};

/** Serves a gateway with the test's own Put and Watch. */
export async function serve(
  handlers: { put?: UnaryHandler; watch?: StreamHandler },
  options: Partial<GatewayDeps> = {},
): Promise<Fixture> {
  const gateway = createGateway({
    handlers: {
      unary: new Map(handlers.put ? [[KV.Put, handlers.put]] : []),
      stream: new Map(handlers.watch ? [[Watch.Watch, handlers.watch]] : []),
    },
    probes: PROBES,
    access: { cors: [], hosts: [] },
    maxReceiveBytes: 100_000,
    log: createLog("silent"),
    ...options,
  });
  const server = createServer(gateway.handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { endpoint: `127.0.0.1:${(server.address() as AddressInfo).port}`, gateway };
}

/** Starts a request whose body stays open. */
export function open(endpoint: string, path: string) {
  const [host, port] = endpoint.split(":");
  const sent = request({ host, port, method: "POST", path });
  sent.on("error", () => {});
  cleanups.push(() => sent.destroy());
  const response = once(sent, "response").then(([response]) => response as IncomingMessage);
  response.catch(() => {});
  return { sent, response };
}

/** Reads the next line of a response. */
export async function line(response: IncomingMessage): Promise<unknown> {
  let text = "";
  while (!text.endsWith("\n")) {
    const chunk: Buffer | null = response.read(1);
    if (chunk === null) await once(response, "readable");
    else text += chunk.toString("latin1");
  }
  return JSON.parse(text);
}
