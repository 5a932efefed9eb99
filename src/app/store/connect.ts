import { randomBytes } from "node:crypto";
import type { Config } from "../../config/types.js";
import type { Log, Logger } from "../../ops/log.js";
import { judgeMap } from "../../reshard/fileMap.js";
import { Maps } from "../../reshard/maps.js";
import type { PlacementState } from "../../reshard/placement.js";
import { diffMaps, fingerprint, inOrderOf, parseMap } from "../../routing/fingerprint.js";
import { Hasher } from "../../routing/hash.js";
import type { Backend } from "../../services/maintenance.js";
import { withAccess } from "../../shard/access.js";
import { openShard, type ShardClient } from "../../shard/client.js";
import { openLateShard } from "../../shard/lateShard.js";
import { ShardSet } from "../../shard/shardSet.js";
import { Code, StatusError } from "../../status/error.js";
import type { Base } from "../../timeline/base.js";
import { EtcdHost } from "../../timeline/etcdHost.js";
import type { Genesis } from "../../timeline/genesis.js";
import { HOST_NAME } from "../../timeline/mark.js";
import { SharedTimeline } from "../../timeline/timeline.js";
import { systemRuntime } from "../../turn/runtime.js";
import { type OwnUsers, openOwnUsers } from "./auth.js";
import type { Indices } from "./contradictions.js";
import { Hosts } from "./hosts.js";
import type { Clusters } from "./marks.js";
import { placeOfJoining, type ShardPlace } from "./places.js";
import { tlsOf } from "./tls.js";

/**
 * A store's clusters, which connect at their first use, and its timeline, which is not open yet. For the timeline, the indices
 * of the shards must be those in the store.
 */
export interface Connections extends Clusters {
  readonly places: ShardSet<ShardPlace>;
  readonly clients: ShardSet<ShardClient>;
  /** Returns the client of the timeline host of the moment. */
  readonly currentHost: () => ShardClient;
  /** To be opened with `openTimeline`. */
  readonly timeline: SharedTimeline;
  /** Opens the timeline, unless it is open already. Rejects as `SharedTimeline.open` does. */
  openTimeline(): Promise<void>;
  /** Returns the shards in index order, then the timeline host if it is not a shard. */
  backends(): readonly Backend[];
  /** Identifies the shard map; never 0. */
  readonly mapId: bigint;
  readonly users: OwnUsers | undefined;
  /**
   * Resolves to connections whose shards have these indices, by their places in the file. They replace these connections, unless
   * these have the indices already. Shards that the store does not know are left out.
   */
  numbered(indices: Indices): Promise<Connections>;
  disconnect(): void;
}

/** Short-lived connections are not logged. */
const QUIET: Logger = { debug() {}, info() {}, warn() {} };

/**
 * `genesis` returns the state of the shards for a new store. Without it, the store must exist already. `indices` are the indices
 * of the shards, by their places in the file. By default, they are these places, as in a new store.
 */
export async function connect(
  config: Config,
  log: Log,
  genesis: (shards: readonly ShardClient[]) => Promise<Genesis> = noStore,
  indices: Indices = config.shards.map((_, place) => place),
): Promise<Connections> {
  const map = await fingerprint(config.map);
  const { requestTimeoutMs, connectTimeoutMs } = config.limits;
  const open = (index: number, place: ShardPlace, endpoints = place.endpoints, to: Logger = log) =>
    openShard({
      index,
      name: place.name,
      endpoints,
      requestTimeoutMs,
      connectTimeoutMs,
      transport: config.transport,
      tls: tlsOf(place, config),
      log: to,
    });
  const places = new ShardSet<ShardPlace>();
  for (const [place, shard] of config.shards.entries()) {
    const index = indices[place];
    if (index !== undefined) places.add(index, shard);
  }
  const raw = places.map(
    (place, index) => {
      const opens = () => open(index, place);
      return place.joins ? openLateShard(index, place, opens) : opens();
    },
    (client) => client.close(),
  );
  const { timeline: hostPlace } = config;
  const hostIndex = hostPlace.kind === "shard" ? indices[hostPlace.shard] : -1;
  if (hostIndex === undefined) throw new RangeError("the shard that is the timeline host has no index");
  const rawHost =
    hostPlace.kind === "shard" ? raw.at(hostIndex) : open(-1, { ...hostPlace, name: HOST_NAME });
  const users = openOwnUsers(config, places, raw, rawHost);
  const admitted = (client: ShardClient) => (users === undefined ? client : withAccess(client, users.own));
  const clients = raw.map(admitted);
  const firstHost = hostPlace.kind === "shard" ? clients.at(hostIndex) : admitted(rawHost);
  /** How to connect to a host that is not a shard. */
  const dedicated = (endpoints: readonly string[]): ShardPlace => ({
    ...placeOfJoining({ name: HOST_NAME, endpoints }, config),
    ...(hostPlace.kind === "dedicated" && hostPlace),
    endpoints,
  });
  const hosts = new Hosts(
    firstHost,
    ({ endpoints }) => {
      const client = open(-1, dedicated(endpoints));
      users?.addHost(client);
      return admitted(client);
    },
    ({ shard, name, endpoints }) => {
      if (places.find(shard) === undefined) places.add(shard, placeOfJoining({ name, endpoints }, config));
      return clients.at(shard);
    },
  );
  const host = hosts.client;
  const backend = (place: ShardPlace, index: number): Backend => ({
    index,
    name: `shard "${place.name}"`,
    endpoints: place.endpoints,
    open: (endpoint) => admitted(open(index, place, endpoint === undefined ? undefined : [endpoint], QUIET)),
  });
  const shardBackends = places.map(backend);
  const hostBackend = () => {
    const endpoints = hosts.endpoints ?? (hostPlace.kind === "dedicated" ? hostPlace.endpoints : []);
    return host.index < 0 ? [backend(dedicated(endpoints), -1)] : [];
  };
  const backends = () => [...shardBackends.all(), ...hostBackend()];
  const timeline = new SharedTimeline(
    1 + Math.max(...clients.entries().map(([index]) => index)),
    {
      host: new EtcdHost(firstHost),
      hostShard: firstHost.index,
      hostOf: (next) => new EtcdHost(hosts.moveTo(next)),
      proxy: randomBytes(8).toString("hex"),
      map: map.text,
      runtime: systemRuntime,
      maps: new Maps(await Hasher.load()),
      endpoints: new Map(config.shards.map(({ name, endpoints }) => [name, endpoints])),
      genesis: () => genesis(clients.all()),
      accept: (placement, format) => acceptMap(placement, format, map.text, log),
    },
    (error) => log.fatal({ err: error }, "the timeline cannot continue"),
  );
  let opening: Promise<void> | undefined;
  const openTimeline = () => {
    opening ??= timeline.open().catch((error) => {
      opening = undefined;
      throw error;
    });
    return opening;
  };
  const all = () => (host.index < 0 ? [...clients.all(), host] : clients.all());
  const disconnect = () => {
    timeline.close();
    for (const client of clients.all()) client.close();
    firstHost.close();
    hosts.close();
  };
  const mapId = map.id || 1n;
  const numbered = async (others: Indices): Promise<Connections> => {
    if (others.every((index, place) => index === indices[place])) return connections;
    disconnect();
    return connect(config, log, genesis, others);
  };
  const common = { config, map: map.text, places, clients, host };
  const connections = {
    ...common,
    get all() {
      return all();
    },
    currentHost: () => hosts.current,
    timeline,
    openTimeline,
    backends,
    mapId,
    users,
    numbered,
    disconnect,
  };
  return connections;
}

async function noStore(): Promise<never> {
  throw storeIsMissing();
}

export const storeIsMissing = (): StatusError =>
  new StatusError(
    Code.FAILED_PRECONDITION,
    "the timeline host holds no timeline: there is no store on these clusters; `braid serve` creates one",
  );

/** Refuses a map that was never the store's. With others, the proxy follows the store, not its file. */
function acceptMap(placement: Readonly<PlacementState>, format: Base["format"], map: string, log: Log): void {
  // Before the first plan, the order of the shards is the only record of their indices.
  const isOther = format < 2 && map !== placement.inForce;
  const verdict = isOther ? "unknown" : judgeMap(map, placement);
  if (verdict !== "unknown") {
    if (verdict !== "in force") {
      log.warn(
        { map: verdict },
        "the file's shards and rules are not those in force; the proxy follows the store",
      );
    }
    return;
  }
  const { inForce, plans } = placement;
  const [stored, own] = [parseMap(inForce), parseMap(map)];
  const differences = diffMaps(stored, format < 2 ? own : inOrderOf(own, stored));
  throw new StatusError(
    Code.FAILED_PRECONDITION,
    `this store ${plans > 0 ? "has" : "was made with"} another shard map; what differs: ${differences.join("; ")}. ` +
      "Give this proxy the store's shards and routing rules.",
  );
}
