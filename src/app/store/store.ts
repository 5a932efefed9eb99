import { setTimeout } from "node:timers/promises";
import type { Config } from "../../config/types.js";
import type { Log } from "../../ops/log.js";
import { createRouter, type Explain } from "../../routing/create.js";
import type { Router } from "../../routing/router.js";
import type { Backend } from "../../services/maintenance.js";
import type { ShardClient } from "../../shard/client.js";
import { type GuardedShard, guardShard } from "../../shard/guard.js";
import type { Manifest } from "../../snapshot/manifest.js";
import { type SaveInput, saveSnapshot } from "../../snapshot/save.js";
import { Code, StatusError, withDetail } from "../../status/error.js";
import type { Genesis } from "../../timeline/genesis.js";
import { Pruner } from "../../timeline/pruner.js";
import type { SharedTimeline } from "../../timeline/timeline.js";
import { systemRuntime } from "../../turn/runtime.js";
import { openCallers, type StoreAuth, withoutCredentials } from "./auth.js";
import { type Connections, connect } from "./connect.js";
import { type Contradiction, ContradictionError } from "./contradictions.js";
import {
  inspectClusters,
  isUnreachable,
  type MarkedStore,
  markStore,
  readCluster,
  recognitionOf,
} from "./marks.js";

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
  /** Identifies the store among all others, for ever; never 0. */
  readonly id: bigint;
  /** Undefined where the proxy has no credentials: then nobody has. */
  readonly auth: StoreAuth | undefined;
  close(): void;
}

/** Pause between two tries to reach the backends at the start, ms. */
const RETRY_MS = 1_000;

/**
 * Connects to the backends, checks that they are the store's, and loads the timeline, or begins one on a new store. Waits for backends that are
 * down, and says so in the log, until `signal` ends that. Rejects with `ContradictionError` when the configuration
 * and the clusters disagree, and when a shard or the timeline host has lost data.
 */
export async function openStore(config: Config, log: Log, signal?: AbortSignal): Promise<Store> {
  const router = await createRouter(config.map);
  let marked: MarkedStore | undefined;
  const connections = await connect(config, log, (shards) => genesis(shards, marked?.id));
  const { clients, host, timeline, backends, mapId, users } = connections;
  let pruner: Pruner | undefined;
  const close = () => {
    pruner?.stop();
    connections.disconnect();
  };
  try {
    marked = await untilReachable(() => markStore(connections, log), log, signal);
    const { id, unreachable } = marked;
    await untilReachable(() => timeline.open(), log, signal);
    recordMarks(timeline, marked);
    const shards = guardShards(connections, marked, timeline, log);
    pruner = new Pruner(timeline, shards, systemRuntime, log);
    // A shard that is down is looked at when it comes back, before anything is asked of it.
    await Promise.all(shards.map((shard) => verify(shard, unreachable.get(shard.index), log)));
    // While the host is full, the store goes by the id that stores had before they were marked.
    const storeId = id === undefined ? mapId : BigInt(`0x${id}`);
    const openAuth = async () => users && openCallers(users, config.auth, host, storeId.toString());
    const auth = await untilReachable(openAuth, log, signal);
    return {
      router,
      clients,
      host,
      shards,
      timeline,
      backends,
      hostShard: host.index,
      id: storeId,
      auth,
      close,
    };
  } catch (error) {
    close();
    throw users === undefined ? withoutCredentials(error) : error;
  }
}

/** All that the configuration and the clusters disagree about, as far as the clusters can be reached. */
export async function findStoreContradictions(config: Config, log: Log): Promise<readonly Contradiction[]> {
  const connections = await connect(config, log);
  try {
    return (await inspectClusters(connections)).contradictions;
  } finally {
    connections.disconnect();
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
  const connections = await connect(config, log);
  const { all, host, timeline, disconnect } = connections;
  try {
    const { contradictions } = await inspectClusters(connections);
    if (contradictions.length > 0) throw new ContradictionError(contradictions, config);
    await timeline.open();
    return await saveSnapshot({ ...save, clusters: all, hostShard: host.index, timeline });
  } finally {
    disconnect();
  }
}

function guardShards(
  { clients, config }: Connections,
  { id, host }: MarkedStore,
  timeline: SharedTimeline,
  log: Log,
): GuardedShard[] {
  return clients.map((client, index) =>
    guardShard(
      client,
      () => timeline.cut(index),
      () => timeline.log.base?.clusterIds[index],
      systemRuntime,
      recognitionOf(client, { id, host, config }, () => timeline.log.base.store, log),
    ),
  );
}

/** Once all shards of an older store carry their marks, one without is not the store's any more. */
function recordMarks(timeline: SharedTimeline, { id, clusters }: MarkedStore): void {
  if (id === undefined || timeline.log.base.store !== undefined) return;
  const isMarked = clusters.every(({ reading }) => (reading?.marks.marks.length ?? 0) > 0);
  // Whoever opens the store next tries again.
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

/** Where each shard stands when a store is made. */
async function genesis(shards: readonly ShardClient[], store: string | undefined): Promise<Genesis> {
  const readings = await Promise.all(shards.map(readCluster));
  return {
    revisions: readings.map(({ revision }) => revision),
    omitted: readings.map(({ marks }) => marks.revisions),
    clusterIds: readings.map(({ clusterId }) => clusterId),
    ...(store !== undefined && { store }),
  };
}

/** Has the shard looked at, unless it could not be reached a moment ago. */
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
