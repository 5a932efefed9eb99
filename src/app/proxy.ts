import { hostname } from "node:os";
import { Accounts } from "../accounts/accounts.js";
import { Groups } from "../accounts/groups.js";
import { RequestRates, sampled } from "../accounts/requests.js";
import { clientUrls } from "../config/address.js";
import type { Config } from "../config/types.js";
import { Leases } from "../lease/leases.js";
import { connectionRoom, handleLimit, tooFewHandles } from "../ops/handles.js";
import { collectAfterDepartures } from "../ops/heap.js";
import type { Log } from "../ops/log.js";
import { openTracing, type Tracing } from "../ops/openTelemetry.js";
import { Metrics } from "../ops/prometheus.js";
import { KnownMaps } from "../reshard/knownMaps.js";
import { Hasher } from "../routing/hash.js";
import { combine, type Service } from "../rpc/service.js";
import { createAuth } from "../services/auth.js";
import { createCluster, memberIdOf } from "../services/cluster.js";
import { createHealth } from "../services/health.js";
import { createIdentity } from "../services/identity.js";
import { createKv } from "../services/kv.js";
import { createLease } from "../services/lease.js";
import { createMaintenance } from "../services/maintenance.js";
import { createProbes } from "../services/probes.js";
import { createRecipes } from "../services/recipes.js";
import { createWatch } from "../services/watch.js";
import { wellFormed } from "../services/wellFormed.js";
import { ConnectionStats } from "../stats/connections.js";
import { Tenants } from "../tenants/tenants.js";
import { createGateway } from "../transport/gateway/gateway.js";
import { createPages, type Page } from "../transport/gateway/pages.js";
import { serveHttp2 } from "../transport/http2/serve.js";
import { CallObserver } from "../transport/observer.js";
import { createReflection } from "../transport/reflection/service.js";
import type { GrpcServer } from "../transport/server.js";
import { turnTime } from "../turn/clock.js";
import { systemRuntime } from "../turn/runtime.js";
import { KV } from "../wire/paths.js";
import { CallLog } from "./callLog.js";
import { Closers } from "./closers.js";
import { openConsole } from "./console.js";
import { createMetrics } from "./metrics/create.js";
import { servePages } from "./metrics/serve.js";
import { choosePorts } from "./ports.js";
import { Resharding } from "./reshard/resharding.js";
import { type Reloaded, Settings } from "./settings.js";
import { openStore, type Store } from "./store/store.js";
import { traceHandlers } from "./tracing/handlers.js";
import { traceShard } from "./tracing/shard.js";
import { traceTimeline } from "./tracing/timeline.js";
import { withCallers } from "./withCallers.js";

export interface Proxy {
  /** The addresses that it listens on, `host:port` each. */
  readonly addresses: readonly string[];
  /**
   * Stops accepting connections, waits for unary calls, ends streams with UNAVAILABLE so that clients use another proxy,
   * and disconnects.
   */
  stop(): Promise<void>;
  /** Applies the settings that can change at run time, and reads all TLS files again. */
  reload(config: Config): Reloaded;
}

type StoredByTenant = ReturnType<Tenants["stored"]>;

/** The other workers behind the same port. */
export interface Siblings {
  /** True for the worker that takes part in moving keys, and serves the console. One is enough. */
  readonly isFirst: boolean;
  /** Adds this proxy's metrics to theirs. Returns a function that reads the totals in Prometheus' text format. */
  share(own: Metrics): () => Promise<string>;
  /** Sends the others what is stored of each tenant. */
  tellStored(stored: StoredByTenant): void;
  /** Sets the listener for what another one has sent, also before now. */
  onStored(listener: (stored: StoredByTenant) => void): void;
}

/** Bytes that etcd's gRPC server allows in addition to the request limit. */
const RECEIVE_OVERHEAD_BYTES = 512 * 1024;

/**
 * Assembles and starts a proxy: backends and timeline, the services above them, and the transport in front. `signal` ends
 * waiting for backends that are down. If something cannot be opened, closes everything and rejects.
 */
export async function startProxy(
  initial: Config,
  log: Log,
  signal?: AbortSignal,
  siblings?: Siblings,
): Promise<Proxy> {
  const closers = new Closers();
  try {
    return await open(initial, log, closers, signal, siblings);
  } catch (error) {
    // The failure to open is what the caller needs to know, even if something cannot be closed either.
    await closers.close().catch(() => {});
    throw error;
  }
}

/** Opens everything. `closers` closes it: the transport first, then the layers below, one by one. */
async function open(
  initial: Config,
  log: Log,
  closers: Closers,
  signal: AbortSignal | undefined,
  siblings: Siblings | undefined,
): Promise<Proxy> {
  const settings = new Settings(initial);
  const { config } = settings;
  const connectionHandles = roomFor(config, log);
  const tracing = config.tracing && (await openTracing(config.tracing, log));
  closers.add(() => tracing?.close());
  const store = await openStore(config, log, signal);
  return serveStore(store, settings, log, closers, { connectionHandles, tracing, siblings });
}

interface Surroundings {
  /** Number of client connections for which there are file handles. */
  readonly connectionHandles: number;
  readonly tracing?: Tracing | undefined;
  readonly siblings?: Siblings | undefined;
}

/** Serves an open store to clients. `closers` also closes the store. */
export async function serveStore(
  store: Store,
  settings: Settings,
  log: Log,
  closers: Closers,
  { connectionHandles, tracing, siblings }: Surroundings,
): Promise<Proxy> {
  const { config } = settings;
  closers.add(() => store.close());
  const shards = tracing ? store.shards.map((shard) => traceShard(shard, tracing)) : store.shards;
  const timeline = tracing ? traceTimeline(store.timeline, tracing) : store.timeline;
  const { router, backends, host, currentHost, auth, gen } = store;
  const runtime = systemRuntime;
  const leases = new Leases({ shards, router, timeline, log, runtime });
  closers.add(() => leases.stop());
  const isFirst = siblings?.isFirst ?? true;
  const { limits } = config;
  const resharding = new Resharding({ store, leases, isCandidate: isFirst, limits, runtime, log });
  closers.add(() => resharding.stop());

  const listen = await choosePorts(config.listen);
  const members = membersOf(config, listen);
  const memberId = ownMemberId(members, listen);
  const identity = createIdentity({ clusterId: store.id, memberId, timeline });
  // In a store without a log, only the configuration tells of the other proxies.
  const processes = () =>
    timeline.isSole
      ? config.workers * (config.advertise?.length ?? 1)
      : Math.max(config.workers, 1 + store.timeline.otherProposers);
  const tenants = new Tenants({ processes, now: turnTime, log });
  const requests = new RequestRates(turnTime());
  const hasher = await Hasher.load();
  const groups = new Groups(new KnownMaps(timeline, hasher));
  const hasConsole = config.console.enabled && isFirst;
  const plainKv = createKv({
    router,
    timeline,
    shards,
    identity,
    leases,
    gen,
    limits: config.limits,
    tenants,
    log,
  });
  const { random } = runtime;
  const kv = hasConsole
    ? sampled(plainKv, { rates: requests, groups, tenants, now: turnTime, random })
    : plainKv;
  const watch = createWatch({ timeline, shards, identity, limits: config.watch, tenants, log, runtime });
  const data = [kv, createLease({ leases, timeline, identity, tenants }), watch];
  const range = kv.unary.get(KV.Range)!;
  const services: readonly Service[] = [
    ...data,
    createRecipes({ handlers: combine(data), router }),
    createAuth({ shards, currentHost, timeline, identity, genKey: gen.key, access: auth }),
    createCluster({ identity, shards, members }),
    createMaintenance({ shards, backends, timeline, identity, range, host, log }),
    createHealth(),
    createReflection(),
  ];
  for (const service of services) closers.add(() => service.stop?.());
  const known = withCallers(auth?.callers, wellFormed(combine(services)));
  const handlers = tracing ? traceHandlers(known, tracing) : known;

  const connections = new ConnectionStats();
  closers.add(collectAfterDepartures(() => connections.open));
  const observer = new CallObserver(new CallLog(log).report);
  const accounts = new Accounts({
    shards: () => store.shards.all(),
    shardOf: (key) => timeline.locator.shardOf(key),
    groups,
    tenants,
    watches: watch.sessions,
    requests,
    // Workers do not count, so that the others of their proxy have nothing to share.
    processes: () => Math.max(1, processes() / config.workers),
    counted: () => siblings?.tellStored(tenants.stored()),
    wanted: () => isFirst && (hasConsole || config.tenants.some(({ prefix }) => prefix !== undefined)),
    events: {
      hub: watch.hub,
      timeline,
      header: (revision) => identity.header(revision),
      wanted: () =>
        isFirst &&
        config.tenants.some(
          ({ limits }) => limits.storedKeys !== undefined || limits.storedBytes !== undefined,
        ),
    },
    runtime,
    log,
  });
  closers.add(() => accounts.stop());
  siblings?.onStored((stored) => tenants.takeStored(stored));
  const follow = () => {
    log.level = config.log.level;
    observer.slowMs = config.log.slowRequestMs;
    store.timeline.relaxedReads = config.reads === "relaxed";
    tenants.configure(config.tenants);
    accounts.consider();
  };
  follow();
  let server: GrpcServer | undefined;
  const metrics = createMetrics({
    calls: observer.stats,
    connections,
    certificateExpiresAt: () => server?.certificateExpiresAt,
    auth,
    shards: store.clients,
    host,
    timeline: store.timeline,
    hub: watch.hub,
    leases,
    reshard: resharding.stats,
    tenants,
  });
  const metricsText = siblings?.share(metrics) ?? (() => metrics.text());
  const extra = new Map<string, Page>([
    ["/metrics", async () => ({ contentType: Metrics.contentType, body: await metricsText() })],
  ]);
  const probes = createProbes({ shards: store.shards, host, timeline });
  // A browser's session is in one process. So with a console, one worker serves the address for all.
  if (config.metrics.listen !== undefined && (isFirst || !config.console.enabled)) {
    const console = config.console.enabled
      ? await openConsole({
          config,
          store,
          hasher,
          accounts,
          handlers: known,
          watch,
          probes,
          metricsText,
          log,
        })
      : undefined;
    if (console !== undefined) closers.add(() => console.stop());
    const pages = await servePages(config.metrics.listen, createPages(probes, extra, log), log, console);
    closers.add(() => pages.close());
    if (console !== undefined) log.info({ url: `http://${pages.address}/console/` }, "console");
  }
  const maxReceiveBytes = config.limits.maxRequestBytes + RECEIVE_OVERHEAD_BYTES;
  const access = config.http;
  const common = { handlers, connections, observer, maxReceiveBytes, log };
  const gateway = createGateway({ ...common, probes, extra, access });
  const serve =
    config.transport === "native" ? serveHttp2 : (await import("../transport/grpc/serve.js")).serveGrpc;
  const serving = await serve(handlers, {
    listen,
    http1: gateway.handle,
    tls: config.tls,
    maxConnections: config.limits.maxConnections,
    connectionHandles,
    connections,
    http2: config.http2,
    log,
    maxReceiveBytes,
    observer,
  });
  server = serving;
  closers.add(() => serving.shutdown(config.shutdown.graceMs));
  closers.add(() => gateway.stop());
  for (const service of services) closers.add(() => service.drain?.());
  return {
    addresses: serving.addresses,
    stop: () => closers.close(),
    reload: (next) => {
      const reloaded = settings.reload(next);
      follow();
      serving.reloadCertificates();
      for (const client of new Set([...store.clients.all(), host])) client.reloadCertificates();
      return reloaded;
    },
  };
}

/** Number of client connections that the limit of file handles allows. Throws if it allows none. */
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

/** The client URLs of each proxy of the store: `advertise`, or else this proxy's addresses. */
function membersOf({ advertise, tls }: Config, listen: readonly string[]): readonly (readonly string[])[] {
  return advertise?.map((url) => [url]) ?? [clientUrls(listen, tls !== undefined)];
}

/** The id of the member that listens here. If no URL matches, an id from the host name and the addresses. */
function ownMemberId(members: readonly (readonly string[])[], listen: readonly string[]): bigint {
  const own = [false, true].flatMap((tls) => clientUrls(listen, tls));
  const member = members.find((urls) => urls.some((url) => own.includes(url)));
  return memberIdOf(member?.[0] ?? `${hostname()} ${listen.join(" ")}`);
}
