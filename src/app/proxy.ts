import { hostname } from "node:os";
import { clientUrls } from "../config/address.js";
import type { Config } from "../config/types.js";
import { Leases } from "../lease/leases.js";
import { connectionRoom, handleLimit, tooFewHandles } from "../ops/handles.js";
import type { Log } from "../ops/log.js";
import { Metrics } from "../ops/prometheus.js";
import { openTracing } from "../ops/tracing.js";
import type { Handlers } from "../rpc/call.js";
import { authHandlers } from "../services/auth.js";
import { clusterHandlers, memberIdOf } from "../services/cluster.js";
import { healthHandlers } from "../services/health.js";
import { createIdentity } from "../services/identity.js";
import { createKv } from "../services/kv.js";
import { leaseHandlers } from "../services/lease.js";
import { maintenanceHandlers } from "../services/maintenance.js";
import { createProbes } from "../services/probes.js";
import { createRecipes } from "../services/recipes.js";
import { createWatch } from "../services/watch.js";
import { wellFormed } from "../services/wellFormed.js";
import { ConnectionStats } from "../stats/connections.js";
import { createGateway } from "../transport/gateway/create.js";
import { createPages, type Page } from "../transport/gateway/pages.js";
import type { GrpcServer } from "../transport/grpc/serve.js";
import { serveHttp2 } from "../transport/http2/serve.js";
import { CallObserver } from "../transport/observer.js";
import { reflectionHandlers } from "../transport/reflection/handlers.js";
import { KV } from "../wire/paths.js";
import { identified } from "./callers.js";
import { CallLog } from "./callLog.js";
import { createMetrics } from "./metrics/create.js";
import { type PageServer, servePages } from "./metrics/serve.js";
import { choosePorts } from "./ports.js";
import { type Reloaded, Settings } from "./settings.js";
import { openStore } from "./store/store.js";
import { traceHandlers, traceShard, traceTimeline } from "./tracing.js";

export interface Proxy {
  /** Where it listens, `host:port` each. */
  readonly addresses: readonly string[];
  /** Stops accepting, lets unary calls finish, ends streams with UNAVAILABLE so that clients move on, disconnects. */
  stop(): Promise<void>;
  /** Takes over what a running proxy can of a changed configuration, and reads all files of TLS again. */
  reload(config: Config): Reloaded;
}

/** What a proxy needs to know of the workers that share its port. */
export interface Siblings {
  /** Adds this proxy's metrics to theirs; the result reads the totals in Prometheus' text format. */
  share(own: Metrics): () => Promise<string>;
}

/** What etcd's gRPC server allows on top of the request limit, bytes. */
const RECEIVE_OVERHEAD = 512 * 1024;

/**
 * Puts the rooms together: backends and timeline, the services on top, the transport in front. `signal` ends the waiting
 * for backends that are down.
 */
export async function startProxy(
  initial: Config,
  log: Log,
  signal?: AbortSignal,
  siblings?: Siblings,
): Promise<Proxy> {
  const settings = new Settings(initial);
  const { config } = settings;
  const connectionHandles = roomFor(config, log);
  const store = await openStore(config, log, signal);
  const { router, shards, timeline, backends, hostShard } = store;
  const tracing = config.tracing && (await openTracing(config.tracing, log));
  if (tracing !== undefined) {
    for (const shard of shards) traceShard(shard, tracing);
    traceTimeline(timeline, tracing);
  }
  const leases = new Leases({ shards, router, timeline, log });
  const listen = await choosePorts(config.listen);
  const members = membersOf(config, listen);
  const identity = createIdentity({
    clusterId: store.id,
    memberId: ownMemberId(members, listen),
    timeline,
  });
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
  const health = healthHandlers();
  const data: Handlers = {
    unary: new Map([...kv.handlers, ...lease.unary]),
    stream: new Map([...lease.stream, ...watch.stream]),
  };
  const recipes = createRecipes({ handlers: data, router });
  const known = identified(store.auth?.callers, {
    unary: wellFormed(
      new Map([
        ...health.unary,
        ...data.unary,
        ...recipes.unary,
        ...authHandlers({ shards, host: store.host, timeline, identity, access: store.auth }),
        ...clusterHandlers({ identity, shards, members }),
        ...maintenanceHandlers({
          shards,
          backends,
          timeline,
          identity,
          range: kv.handlers.get(KV.Range)!,
          host: store.host,
          hostShard,
          log,
        }),
      ]),
    ),
    stream: new Map([...health.stream, ...reflectionHandlers(), ...data.stream, ...recipes.stream]),
  });
  const handlers = tracing === undefined ? known : traceHandlers(known, tracing);
  const maxReceiveBytes = config.limits.maxRequestBytes + RECEIVE_OVERHEAD;
  const observer = new CallObserver(new CallLog(log).report);
  const follow = () => {
    log.level = config.log.level;
    observer.slowMs = config.log.slowRequestMs;
    timeline.relaxedReads = config.reads === "relaxed";
  };
  follow();
  const connections = new ConnectionStats();
  let server: GrpcServer | undefined;
  const metrics = createMetrics({
    calls: observer.stats,
    connections,
    certificateExpiresAt: () => server?.certificateExpiresAt,
    auth: store.auth,
    backends: [...new Set([...store.clients, store.host])],
    host: store.host,
    shardNames: shards.map(({ name }) => name),
    timeline,
    hub: watch.hub,
    leases,
  });
  const metricsText = siblings?.share(metrics) ?? (() => metrics.text());
  const extra = new Map<string, Page>([
    ["/metrics", async () => ({ contentType: Metrics.contentType, body: await metricsText() })],
  ]);
  const probes = createProbes({ shards, host: store.host, timeline });
  const gateway = createGateway({
    handlers,
    probes,
    extra,
    access: config.http,
    connections,
    observer,
    maxReceiveBytes,
    log,
  });
  let pageServer: PageServer | undefined;
  const close = () => {
    pageServer?.close();
    watch.stop();
    kv.stop();
    leases.stop();
    store.close();
  };
  try {
    const { listen: metricsListen } = config.metrics;
    if (metricsListen !== undefined) {
      pageServer = await servePages(metricsListen, createPages(probes, extra, log), log);
    }
    const serve =
      config.transport === "native" ? serveHttp2 : (await import("../transport/grpc/serve.js")).serveGrpc;
    const serving = await serve(handlers, {
      listen,
      http1: gateway.handle,
      tls: config.tls,
      maxConnections: config.limits.maxConnections,
      connectionHandles,
      connections,
      http2: {
        maxStreams: config.http2.maxStreams,
        pingIntervalMs: config.http2.keepaliveIntervalMs,
        pingTimeoutMs: config.http2.keepaliveTimeoutMs,
      },
      log,
      maxReceiveBytes,
      observer,
    });
    server = serving;
    return {
      addresses: serving.addresses,
      stop: async () => {
        recipes.stop();
        gateway.stop();
        await serving.shutdown(config.shutdown.graceMs);
        close();
        await tracing?.close();
      },
      reload: (next) => {
        const reloaded = settings.reload(next);
        follow();
        serving.reloadCertificates();
        for (const client of new Set([...store.clients, store.host])) client.reloadCertificates();
        return reloaded;
      },
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** How many clients' connections there are file handles for. Throws when they are too few for a proxy. */
function roomFor({ shards, timeline, limits }: Config, log: Log): number {
  const limit = handleLimit();
  const clusters = timeline.kind === "dedicated" ? [...shards, timeline] : shards;
  const endpoints = clusters.reduce((sum, cluster) => sum + cluster.endpoints.length, 0);
  const room = connectionRoom(limit, endpoints);
  if (room < 1) throw new Error(tooFewHandles(limit));
  if (room < limits.maxConnections) {
    const fields = { openFiles: limit, connections: room, maxConnections: limits.maxConnections };
    log.info(fields, "the limit of open files allows fewer connections than limits.maxConnections");
  }
  return room;
}

/** The client URLs of each proxy of the store: what is advertised, else this proxy alone with all its addresses. */
function membersOf({ advertise, tls }: Config, listen: readonly string[]): readonly (readonly string[])[] {
  return advertise?.map((url) => [url]) ?? [clientUrls(listen, tls !== undefined)];
}

/** The id of the member that listens here; that of the machine and its addresses when none of the URLs tells. */
function ownMemberId(members: readonly (readonly string[])[], listen: readonly string[]): bigint {
  const own = [false, true].flatMap((tls) => clientUrls(listen, tls));
  const member = members.find((urls) => urls.some((url) => own.includes(url)));
  return memberIdOf(member?.[0] ?? `${hostname()} ${listen.join(" ")}`);
}
