import { setTimeout } from "node:timers/promises";
import type { Config } from "../../config/types.js";
import type { Log } from "../../ops/log.js";
import { LocatorRouter } from "../../reshard/locatorRouter.js";
import { neededShards } from "../../reshard/neededShards.js";
import type { Router } from "../../routing/router.js";
import type { GenKey } from "../../services/kv.js";
import type { Backend } from "../../services/maintenance.js";
import type { ShardClient } from "../../shard/client.js";
import { type GuardedShard, guardShard } from "../../shard/guard.js";
import { describeShard } from "../../shard/name.js";
import type { ShardSet } from "../../shard/shardSet.js";
import type { Manifest } from "../../snapshot/manifest.js";
import { type SaveInput, saveSnapshot } from "../../snapshot/save.js";
import { Code, StatusError, withDetail } from "../../status/error.js";
import type { Genesis } from "../../timeline/genesis.js";
import { markKey } from "../../timeline/keys.js";
import { Pruner } from "../../timeline/pruner.js";
import type { SharedTimeline } from "../../timeline/timeline.js";
import { systemRuntime } from "../../turn/runtime.js";
import { openCallers, type StoreAuth, withoutCredentials } from "./auth.js";
import { type Connections, connect } from "./connect.js";
import { type Contradiction, ContradictionError } from "./contradictions.js";
import { GenGrants } from "./genGrants.js";
import {
  inspectClusters,
  isUnreachable,
  type MarkedStore,
  markStore,
  readCluster,
  recognitionOf,
} from "./marks.js";
import { placeOfJoining } from "./places.js";

/** The backends of a proxy and their timeline, for the services. */
export interface Store {
  /** Follows the placement. */
  readonly router: Router;
  readonly clients: ShardSet<ShardClient>;
  /** The timeline host: one of `clients`, or a separate cluster. Each call goes to the host of the moment. */
  readonly host: ShardClient;
  /** Returns the client of the host of the moment. */
  readonly currentHost: () => ShardClient;
  readonly shards: ShardSet<GuardedShard>;
  readonly timeline: SharedTimeline;
  /** Returns the shards in index order, then the timeline host if it is not a shard. */
  backends(): readonly Backend[];
  /** What the writes of clients compare. */
  readonly gen: GenKey;
  /** Identifies the store permanently; never 0. */
  readonly id: bigint;
  /** Undefined if the proxy has no credentials. Then clients have none either. */
  readonly auth: StoreAuth | undefined;
  /**
   * Disconnects from a shard that `neededShards` does not list. From then on its calls fail with FAILED_PRECONDITION. It joins
   * again when a plan needs it. Throws `RangeError` for an unknown index, and for the timeline host.
   */
  retireShard(index: number): void;
  close(): void;
}

/** Pause between two attempts to reach the backends at the start. */
const RETRY_MS = 1_000;

/**
 * Connects to the backends, checks that they belong to the store, and loads the timeline, or begins one for a new store.
 * Waits for backends that are down, and logs this, until `signal` ends it. Rejects with `ContradictionError` if the
 * clusters contradict the configuration, or if a shard or the timeline host has lost data.
 */
export async function openStore(config: Config, log: Log, signal?: AbortSignal): Promise<Store> {
  let marked: MarkedStore | undefined;
  let connections = await connect(config, log, (shards) => genesis(shards, marked?.id));
  let pruner: Pruner | undefined;
  let grants: GenGrants | undefined;
  const close = () => {
    grants?.stop();
    pruner?.stop();
    connections.disconnect();
  };
  try {
    marked = await untilReachable(() => markStore(connections, log), log, signal);
    const { id, indices, unreachable } = marked;
    connections = await connections.numbered(indices);
    const { clients, host, currentHost, timeline, backends, mapId, users } = connections;
    await untilReachable(connections.openTimeline, log, signal);
    recordMarks(timeline, marked);
    const shards = guardShards(connections, marked, timeline, log);
    followPlans(connections, shards, log);
    retireUnused(connections, shards, log);
    pruner = new Pruner(timeline, shards, systemRuntime, log);
    // A shard that is down is verified when it comes back, before any other request.
    const failureOf = ({ index }: GuardedShard) => unreachable.get(indices.indexOf(index));
    await Promise.all(shards.all().map((shard) => verify(shard, failureOf(shard), log)));
    // While the host is out of space, the store uses the id from before stores had marks.
    const storeId = id === undefined ? mapId : BigInt(`0x${id}`);
    const openAuth = async () => users && openCallers(users, config.auth, host, storeId.toString());
    const auth = await untilReachable(openAuth, log, signal);
    const genKey = id === undefined ? undefined : markKey(id);
    if (auth !== undefined && genKey !== undefined) {
      grants = new GenGrants(shards, genKey, log);
      await grants.start();
    }
    return {
      router: new LocatorRouter(timeline),
      clients,
      host,
      currentHost,
      shards,
      timeline,
      backends,
      gen: {
        key: genKey,
        isOnAllShards: () => timeline.log.base.store !== undefined,
      },
      id: storeId,
      auth,
      retireShard: (index) => retireShard(connections, shards, index, log),
      close,
    };
  } catch (error) {
    close();
    throw connections.users === undefined ? withoutCredentials(error) : error;
  }
}

/** All contradictions between the configuration and the reachable clusters. */
export async function findStoreContradictions(config: Config, log: Log): Promise<readonly Contradiction[]> {
  const connections = await connect(config, log);
  try {
    return (await inspectClusters(connections)).contradictions;
  } finally {
    connections.disconnect();
  }
}

/** Connects to the shards, in the file's order, and the timeline host, without the timeline. */
export async function connectShards(
  config: Config,
  log: Log,
): Promise<{ shards: readonly ShardClient[]; host: ShardClient; close(): void }> {
  const { clients, host, disconnect } = await connect(config, log);
  const shard = host.index < 0 ? undefined : clients.at(host.index);
  return { shards: clients.all(), host: shard ?? host, close: disconnect };
}

/** Saves the store, see `saveSnapshot`. Does not wait for backends that are down. */
export async function saveStore(
  config: Config,
  save: Pick<SaveInput, "folder" | "braid" | "progress">,
  log: Log,
): Promise<Manifest> {
  let connections = await connect(config, log);
  try {
    const { indices, contradictions } = await inspectClusters(connections);
    if (contradictions.length > 0) throw new ContradictionError(contradictions, config);
    connections = await connections.numbered(indices);
    await connections.openTimeline();
    // The timeline may have led to another host.
    const { all, host, timeline } = connections;
    const used = new Set([...neededShards(timeline.placement), host.index]);
    const clusters = all.filter(({ index }) => used.has(index));
    return await saveSnapshot({ ...save, clusters, hostShard: timeline.hostShard, timeline });
  } finally {
    connections.disconnect();
  }
}

function guardShards(
  { clients, config }: Connections,
  { id, host }: MarkedStore,
  timeline: SharedTimeline,
  log: Log,
): ShardSet<GuardedShard> {
  return clients.map((client, index) =>
    guardShard(
      client,
      () => timeline.cut(index),
      () => timeline.placement.shards[index]?.clusterId,
      systemRuntime,
      recognitionOf(client, { id, host, config, clients }, timeline, log),
    ),
  );
}

/**
 * Adds the shards that plans name, now and when a plan is folded. While such a shard cannot be reached, its calls fail with its
 * name, as for any other shard that is down.
 */
function followPlans(
  { places, timeline, config }: Connections,
  shards: ShardSet<GuardedShard>,
  log: Log,
): void {
  let followed: number;
  const follow = (needed: readonly number[]): GuardedShard[] => {
    const { placement, placementPosition } = timeline;
    followed = placementPosition;
    const joining = needed.filter((index) => places.find(index) === undefined);
    return joining.flatMap((index) => {
      const shard = placement.shards[index];
      if (shard === undefined) return [];
      log.info({ shard: shard.name, index }, "shard joins the store");
      places.add(index, placeOfJoining(shard, config));
      return shards.at(index);
    });
  };
  follow(neededShards(timeline.placement));
  // The first listener, so that all others know the shards of the entries that they see.
  timeline.onAdvance(() => {
    if (timeline.placementPosition === followed) return;
    for (const shard of follow(neededShards(timeline.placement))) {
      verify(shard, undefined, log).catch((error) =>
        log.error({ shard: shard.name, error: withDetail(error) }, "shard refused"),
      );
    }
  });
}

/** Disconnects from the shards of the file that plans have removed. They may be down. */
function retireUnused(connections: Connections, shards: ShardSet<GuardedShard>, log: Log): void {
  const { places, host, timeline } = connections;
  const used = new Set([...neededShards(timeline.placement), host.index]);
  for (const [index] of places.entries()) {
    if (!used.has(index)) retireShard(connections, shards, index, log);
  }
}

function retireShard(
  { places, host }: Connections,
  shards: ShardSet<GuardedShard>,
  index: number,
  log: Log,
): void {
  const shard = shards.at(index);
  if (index === host.index) throw new RangeError(`${describeShard(shard)} is the timeline host`);
  if (places.find(index) === undefined) return;
  log.info({ shard: shard.name, index }, "shard leaves the store");
  shard.refuse(
    new StatusError(Code.FAILED_PRECONDITION, `${describeShard(shard)} was removed from the store`),
  );
  places.retire(index);
}

/** Records in the base that all shards of an older store are marked. From then on, a shard without a mark is refused. */
function recordMarks(timeline: SharedTimeline, { id, clusters }: MarkedStore): void {
  if (id === undefined || timeline.log.base.store !== undefined) return;
  const isMarked = clusters.every(({ reading }) => (reading?.marks.marks.length ?? 0) > 0);
  // If this fails, the next proxy that opens the store tries again.
  if (isMarked) timeline.log.writeBase({ store: id }).catch(() => {});
}

async function untilReachable<T>(action: () => Promise<T>, log: Log, signal?: AbortSignal): Promise<T> {
  let said = "";
  for (;;) {
    try {
      return await action();
    } catch (reason) {
      const error = StatusError.from(reason);
      if (!isUnreachable(error)) throw error;
      const text = withDetail(error);
      if (text !== said) log.warn({ error: text }, "waiting for the backends");
      said = text;
    }
    await setTimeout(RETRY_MS, undefined, { signal }).catch(() => {});
    if (signal?.aborted)
      throw new StatusError(Code.CANCELLED, `stopped while waiting for the backends: ${said}`);
  }
}

/** The state of each shard for a new store. */
async function genesis(shards: readonly ShardClient[], store: string | undefined): Promise<Genesis> {
  const readings = await Promise.all(shards.map(readCluster));
  return {
    revisions: readings.map(({ revision }) => revision),
    omitted: readings.map(({ marks }) => marks.revisions),
    clusterIds: readings.map(({ clusterId }) => clusterId),
    ...(store !== undefined && { store }),
  };
}

/** Verifies a shard, unless it was unreachable a moment ago (`failure`). */
async function verify(shard: GuardedShard, failure: StatusError | undefined, log: Log): Promise<void> {
  try {
    if (failure !== undefined) throw failure;
    await shard.verify();
  } catch (reason) {
    const error = StatusError.from(reason);
    if (!isUnreachable(error)) throw error;
    log.warn({ shard: shard.name, error: withDetail(error) }, "shard is not reachable yet");
  }
}
