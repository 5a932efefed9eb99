import type { Config } from "../../config/types.js";
import type { Log } from "../../ops/log.js";
import type { ShardClient } from "../../shard/client.js";
import { Code, StatusError } from "../../status/error.js";
import type { SharedTimeline } from "../../timeline/timeline.js";
import { type Connections, connect } from "./connect.js";
import { ContradictionError, type Indices, type Reading, storeOf } from "./contradictions.js";
import { changeHost, inspectClusters, placeOf, refuseFormerHost, writeMark } from "./marks.js";

/**
 * Accepts the cluster behind the endpoints of the shard at this place in the file, or behind those of the timeline host (-1), as
 * part of the store. Use
 * it after the cluster was rebuilt from its newest data. Rejects if the cluster belongs to something else, or lacks revisions
 * that the timeline has sealed. Resolves to false if it already belongs to the store. Restart running proxies afterwards.
 */
export async function adoptCluster(config: Config, place: number, log: Log): Promise<boolean> {
  let connections = await connect(config, log);
  try {
    const inspected = await inspect(connections, place);
    connections = await connections.numbered(inspected.indices);
    await connections.openTimeline();
    return await adopt(connections, inspected);
  } finally {
    connections.disconnect();
  }
}

interface Inspected {
  readonly indices: Indices;
  /** Index in the store of the cluster to adopt, or -1. */
  readonly index: number;
  readonly reading: Reading;
  readonly hostReading: Reading;
  /** The store's id. */
  readonly store: string | undefined;
}

/** Reads the clusters. Rejects if something is wrong that cannot be resolved by adopting the cluster at this place. */
async function inspect(store: Connections, place: number): Promise<Inspected> {
  const { config, host } = store;
  const { clusters, indices, unreachable, contradictions, head } = await inspectClusters(store);
  refuseFormerHost(head);
  for (const [failed, error] of unreachable) {
    // All marks name the timeline host.
    if (failed === place || failed === host.index || place === host.index) throw error;
  }
  const others = contradictions.filter((each) => !(each.isAdoptable && each.cluster === place));
  if (others.length > 0) throw new ContradictionError(others, config);
  const index = place < 0 ? place : indices[place];
  if (index === undefined) {
    const text = `shard "${config.shards[place]?.name}" is not in the store yet`;
    throw new StatusError(Code.FAILED_PRECONDITION, text);
  }
  const readingAt = (at: number) => clusters.find((each) => each.index === at)?.reading as Reading;
  const [reading, hostReading] = [readingAt(place), readingAt(host.index)];
  return { indices, index, reading, hostReading, store: storeOf(clusters, host.index) };
}

async function adopt(connections: Connections, inspected: Inspected): Promise<boolean> {
  const { all, host, timeline } = connections;
  const { index, reading, hostReading, store } = inspected;
  const cluster = all.find((each) => each.index === index)!;
  if (index >= 0) refuseOlder(cluster, reading, timeline);
  const place = placeOf(host, hostReading);
  let isChanged = false;
  // A store of an older version has no marks yet: the first proxy that opens it writes them.
  if (store !== undefined && reading.marks.marks.length === 0) {
    const hasLog = index === host.index;
    isChanged = await writeMark(cluster, reading, store, place, hasLog, index, timeline.placementPosition);
  }
  if (store !== undefined && index === host.index) {
    for (const each of all) {
      if (await changeHost(each, store, place, each.index === host.index)) isChanged = true;
    }
  }
  return (index >= 0 && (await writeClusterId(timeline, index, reading.clusterId))) || isChanged;
}

function refuseOlder({ name, index }: ShardClient, { revision }: Reading, timeline: SharedTimeline): void {
  if (revision >= timeline.cut(index)) return;
  throw new StatusError(
    Code.DATA_LOSS,
    `shard "${name}" is at revision ${revision}, the timeline has sealed ${timeline.cut(index)}: ` +
      "this cluster lacks acknowledged writes",
  );
}

/** Resolves to false if the base already has it. */
async function writeClusterId(timeline: SharedTimeline, index: number, clusterId: string): Promise<boolean> {
  for (;;) {
    const clusterIds = timeline.placement.shards.map((shard) => shard.clusterId);
    if (clusterIds[index] === clusterId) return false;
    clusterIds[index] = clusterId;
    if (await timeline.log.writeBase({ clusterIds })) return true;
    await timeline.sync();
  }
}
