import { clientUrls } from "../config/address.js";
import type { Config } from "../config/types.js";
import { Leases } from "../lease/leases.js";
import type { Log } from "../ops/log.js";
import { clusterHandlers, memberIdOf } from "../services/cluster.js";
import { createIdentity } from "../services/identity.js";
import { createKv } from "../services/kv.js";
import { leaseHandlers } from "../services/lease.js";
import { maintenanceHandlers } from "../services/maintenance.js";
import { unimplementedHandlers } from "../services/unimplemented.js";
import { createWatch } from "../services/watch.js";
import { serveGrpc } from "./grpc/serve.js";
import { openStore } from "./store.js";
import type { Handlers } from "./transport.js";

export interface Proxy {
  /** Where it listens, `host:port` each. */
  readonly addresses: readonly string[];
  /** Stops accepting, lets unary calls finish, ends streams with UNAVAILABLE so that clients move on, disconnects. */
  stop(): Promise<void>;
}

/** How long unary calls may take to finish at the end, ms. */
const GRACE = 5_000;
/** What etcd's gRPC server allows on top of the request limit, bytes. */
const RECEIVE_OVERHEAD = 512 * 1024;

/** Puts the rooms together: backends and timeline, the services on top, the transport in front. */
export async function startProxy(config: Config, log: Log, signal?: AbortSignal): Promise<Proxy> {
  const store = await openStore(config, log, signal);
  const { router, shards, timeline } = store;
  // Bound before the handlers answer anything: the addresses name the members.
  const leases = new Leases({ shards, router, timeline, log });
  const urls = config.advertise ?? clientUrls(config.listen);
  const identity = createIdentity({ clusterId: store.mapId, memberId: memberIdOf(urls[0]), timeline });
  const kv = createKv({
    router,
    timeline,
    shards,
    identity,
    leases,
    limits: config.limits,
    log,
  });
  const lease = leaseHandlers({ leases, timeline, identity });
  const watch = createWatch({ router, timeline, shards, identity, limits: config.watch, log });
  const handlers: Handlers = {
    unary: new Map([
      ...unimplementedHandlers(identity),
      ...kv.handlers,
      ...lease.unary,
      ...clusterHandlers({ identity, clientUrls: urls }),
      ...maintenanceHandlers({ shards, timeline, identity }),
    ]),
    stream: new Map([...lease.stream, ...watch.stream]),
  };
  const close = () => {
    watch.stop();
    kv.stop();
    leases.stop();
    store.close();
  };
  try {
    const server = await serveGrpc(handlers, {
      listen: config.listen,
      maxReceiveBytes: config.limits.maxRequestBytes + RECEIVE_OVERHEAD,
    });
    return {
      addresses: server.addresses,
      stop: async () => {
        await server.shutdown(GRACE);
        close();
      },
    };
  } catch (error) {
    close();
    throw error;
  }
}
