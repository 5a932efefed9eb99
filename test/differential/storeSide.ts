import { EtcdClient } from "./client.js";
import { LeaseNames } from "./ops.js";
import type { Side } from "./side.js";

/** A proxy as a process. */
export interface Restartable {
  readonly endpoint: string;
  restart(signal: "SIGTERM" | "SIGKILL"): Promise<void>;
}

/** By default, grpc-js gives a new client the connection of an earlier one that waits to connect again, and its calls fail. */
const CHANNEL = { "grpc.use_local_subchannel_pool": 1 };

/** The store, through one proxy at a time; watch streams are spread over all of them. */
export class StoreSide implements Side {
  readonly leases = new LeaseNames();
  /** The proxy that the client talks to. */
  current = 0;
  private readonly clients: EtcdClient[];

  constructor(readonly proxies: readonly Restartable[]) {
    this.clients = proxies.map(({ endpoint }) => new EtcdClient(endpoint, CHANNEL));
  }

  get client(): EtcdClient {
    return this.clients[this.current];
  }

  proxyOf(stream: number): number {
    return stream % this.proxies.length;
  }

  watchClient(stream: number): EtcdClient {
    return this.clients[this.proxyOf(stream)];
  }

  async restart(proxy: number, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.clients[proxy].close();
    await this.proxies[proxy].restart(signal);
    this.clients[proxy] = new EtcdClient(this.proxies[proxy].endpoint, CHANNEL);
  }

  close(): void {
    for (const client of this.clients) client.close();
  }
}
