import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import type { Config } from "../config/types.js";
import type { Log } from "../ops/log.js";
import { createRouter, type Explain } from "../routing/create.js";
import { diffMaps, fingerprint, parseMap } from "../routing/fingerprint.js";
import type { Router } from "../routing/router.js";
import type { Backend } from "../services/maintenance.js";
import { withAccess } from "../shard/access.js";
import { openShard, type ShardClient, type ShardLog } from "../shard/client.js";
import { type GuardedShard, guardShard } from "../shard/guard.js";
import type { Manifest } from "../snapshot/manifest.js";
import { type SaveInput, saveSnapshot } from "../snapshot/save.js";
import { Code, StatusError } from "../status/error.js";
import type { Base } from "../timeline/base.js";
import { EtcdHost } from "../timeline/etcdHost.js";
import { systemRuntime } from "../timeline/host.js";
import { Pruner } from "../timeline/pruner.js";
import { SharedTimeline } from "../timeline/timeline.js";
import { RangeRequest } from "../wire/messages.js";
import { KV } from "../wire/paths.js";
import { peekHeader } from "../wire/rewrite.js";
import { type OwnUsers, openCallers, openOwnUsers, type StoreAuth, withoutCredentials } from "./auth.js";
import { shardTls } from "./tls.js";

/** The backends of a proxy and the timeline over them: what the services stand on. */
export interface Store {
  readonly router: Router & Explain;
  readonly clients: readonly ShardClient[];
  /** The timeline host's: one of `clients`, or a cluster of its own. */
  readonly host: ShardClient;
  readonly shards: readonly GuardedShard[];
  readonly timeline: SharedTimeline;
  /** The shards in their order, then the timeline host if it is a cluster of its own. */
  readonly backends: readonly Backend[];
  /** Index of the shard that is the timeline host, or -1. */
  readonly hostShard: number;
  /** Identifies the shard map; never 0. */
  readonly mapId: bigint;
  /** Undefined where the proxy has no credentials: then nobody has. */
  readonly auth: StoreAuth | undefined;
  close(): void;
}

/** Pause between two tries to reach the backends at the start, ms. */
const RETRY = 1_000;
/** Connections for a moment are nobody's news. */
const QUIET: ShardLog = { debug() {}, info() {}, warn() {} };
const PROBE = RangeRequest.encode({ key: Uint8Array.of(0), countOnly: true });

/**
 * Connects to the backends and loads the timeline, or begins one on a new store. Waits for backends that are
 * down, and says so in the log, until `signal` ends that. Rejects when the store was made with another shard
 * map, when a shard is another cluster than it was, or when a shard or the timeline host has lost data.
 */
export async function openStore(config: Config, log: Log, signal?: AbortSignal): Promise<Store> {
  const router = await createRouter(config.map);
  const { clients, host, timeline, backends, mapId, users, disconnect } = await connect(config, log);
  const shards = clients.map((client, index) =>
    guardShard(
      client,
      () => timeline.cut(index),
      () => timeline.log.base?.clusterIds[index],
    ),
  );
  const pruner = new Pruner(timeline, shards, systemRuntime, log);
  const close = () => {
    pruner.stop();
    disconnect();
  };
  const openAuth = async () => users && openCallers(users, config.auth, host, mapId.toString());
  let auth: StoreAuth | undefined;
  try {
    await untilReachable(() => timeline.open(), log, signal);
    await Promise.all(shards.map((shard) => verify(shard, log)));
    auth = await untilReachable(openAuth, log, signal);
  } catch (error) {
    close();
    throw users === undefined ? withoutCredentials(error) : error;
  }
  const hostShard = host.index;
  return { router, clients, host, shards, timeline, backends, hostShard, mapId, auth, close };
}

/**
 * Makes the cluster that is behind a shard's endpoints now the one that belongs to the store, after the old one
 * was rebuilt from its newest data. Rejects when it holds less than the timeline has sealed. Resolves to false
 * when it belongs to the store already. Running proxies have to be restarted afterwards.
 */
export async function adoptCluster(config: Config, shardIndex: number, log: Log): Promise<boolean> {
  const { clients, timeline, disconnect } = await connect(config, log);
  try {
    const shard = clients[shardIndex];
    await timeline.open();
    const { clusterId, revision } = peekHeader(await shard.call(KV.Range, PROBE, { idempotent: true }));
    const clusterIds = [...timeline.log.base.clusterIds];
    if (revision < timeline.cut(shard.index)) {
      throw new StatusError(
        Code.DATA_LOSS,
        `shard "${shard.name}" is at revision ${revision}, the timeline has sealed ${timeline.cut(shard.index)}: ` +
          "this cluster lacks data that clients were told is stored",
      );
    }
    if (clusterIds[shard.index] === clusterId.toString()) return false;
    clusterIds[shard.index] = clusterId.toString();
    while (!(await timeline.log.writeBase({ clusterIds }))) await timeline.sync();
    return true;
  } finally {
    disconnect();
  }
}

/** Connects to the shards and the timeline host, and to nothing of the timeline. */
export async function connectShards(
  config: Config,
  log: Log,
): Promise<{ shards: readonly ShardClient[]; host: ShardClient; close(): void }> {
  const { clients, host, disconnect } = await connect(config, log);
  return { shards: clients, host, close: disconnect };
}

/** Saves the store, see `saveSnapshot`. Does not wait for backends that are down. */
export async function saveStore(
  config: Config,
  save: Pick<SaveInput, "folder" | "braid" | "progress">,
  log: Log,
): Promise<Manifest> {
  const { clients, host, timeline, disconnect } = await connect(config, log);
  try {
    await timeline.open();
    const clusters = [...new Set([...clients, host])];
    return await saveSnapshot({ ...save, clusters, hostShard: host.index, timeline });
  } finally {
    disconnect();
  }
}

interface Connections {
  readonly clients: readonly ShardClient[];
  /** One of the shards, or the timeline host of its own. */
  readonly host: ShardClient;
  readonly timeline: SharedTimeline;
  readonly backends: readonly Backend[];
  readonly mapId: bigint;
  readonly users: OwnUsers | undefined;
  disconnect(): void;
}

/** Everything that talks to the backends, connected when first used. */
async function connect(config: Config, log: Log): Promise<Connections> {
  const map = await fingerprint(config.map);
  const open = (index: number, name: string, endpoints: readonly string[], to: ShardLog = log) =>
    openShard({
      index,
      name,
      endpoints,
      requestTimeoutMs: config.limits.requestTimeoutMs,
      connectTimeoutMs: config.limits.connectTimeoutMs,
      transport: config.transport,
      tls: shardTls(config, index),
      log: to,
    });
  const raw = config.shards.map(({ name, endpoints }, index) => open(index, name, endpoints));
  const { timeline: host } = config;
  const rawHost = host.kind === "shard" ? raw[host.shard] : open(-1, "timeline host", host.endpoints);
  const users = openOwnUsers(config, raw, rawHost);
  const admitted = (client: ShardClient) => (users === undefined ? client : withAccess(client, users.own));
  const clients = raw.map(admitted);
  const hostClient = host.kind === "shard" ? clients[host.shard] : admitted(rawHost);
  const backend = (index: number, name: string, endpoints: readonly string[]): Backend => ({
    index,
    name: `shard "${name}"`,
    endpoints,
    open: (endpoint) => admitted(open(index, name, endpoint === undefined ? endpoints : [endpoint], QUIET)),
  });
  const backends = config.shards.map(({ name, endpoints }, index) => backend(index, name, endpoints));
  if (host.kind === "dedicated") backends.push(backend(-1, "timeline host", host.endpoints));
  const timeline = new SharedTimeline(
    clients.length,
    {
      host: new EtcdHost(hostClient),
      hostShard: hostClient.index,
      proxy: randomBytes(8).toString("hex"),
      map: map.text,
      runtime: systemRuntime,
      genesis: () => genesis(clients),
      accept: (base) => acceptMap(base, map.text),
    },
    (error) => log.fatal({ err: error }, "the timeline can not go on"),
  );
  const disconnect = () => {
    timeline.close();
    for (const client of new Set([...clients, hostClient])) client.close();
  };
  const mapId = map.id || 1n;
  return { clients, host: hostClient, timeline, backends, mapId, users, disconnect };
}

async function untilReachable<T>(action: () => Promise<T>, log: Log, signal?: AbortSignal): Promise<T> {
  let said = "";
  for (;;) {
    try {
      return await action();
    } catch (reason) {
      const error = StatusError.from(reason);
      if (error.code !== Code.UNAVAILABLE && error.code !== Code.DEADLINE_EXCEEDED) throw error;
      if (error.message !== said) log.warn({ error: error.message }, "waiting for the backends");
      said = error.message;
    }
    await setTimeout(RETRY, undefined, { signal }).catch(() => {});
    if (signal?.aborted)
      throw new StatusError(Code.CANCELLED, `stopped while waiting for the backends: ${said}`);
  }
}

/** Where each shard stands when a store is made. */
async function genesis(
  clients: readonly ShardClient[],
): Promise<{ revisions: number[]; clusterIds: string[] }> {
  const headers = await Promise.all(
    clients.map(async (client) => peekHeader(await client.call(KV.Range, PROBE, { idempotent: true }))),
  );
  const clusterIds = headers.map(({ clusterId }) => clusterId.toString());
  clusterIds.forEach((id, index) => {
    const first = clusterIds.indexOf(id);
    if (first < index) {
      throw new StatusError(
        Code.FAILED_PRECONDITION,
        `shards "${clients[first].name}" and "${clients[index].name}" are the same etcd cluster (id ${id})`,
      );
    }
  });
  return { revisions: headers.map(({ revision }) => revision), clusterIds };
}

/** Keys would be looked for on other shards than they were written to. */
function acceptMap(base: Base, map: string): void {
  if (base.map === map) return;
  const differences = diffMaps(parseMap(base.map), parseMap(map));
  throw new StatusError(
    Code.FAILED_PRECONDITION,
    `this store was made with another shard map; what differs: ${differences.join("; ")}. ` +
      "Give this proxy the shards and routing rules that the store has.",
  );
}

/** A shard that is down is looked at when it comes back, before anything is asked of it. */
async function verify(shard: GuardedShard, log: Log): Promise<void> {
  try {
    await shard.verify();
  } catch (reason) {
    const error = StatusError.from(reason);
    if (error.code !== Code.UNAVAILABLE && error.code !== Code.DEADLINE_EXCEEDED) throw error;
    log.warn({ shard: shard.name, error: error.message }, "shard is not reachable yet");
  }
}
