import type { Config } from "../../config/types.js";
import type { Log } from "../../ops/log.js";
import type { ShardClient } from "../../shard/client.js";
import { Code, StatusError } from "../../status/error.js";
import type { SharedTimeline } from "../../timeline/timeline.js";
import { type Connections, connect } from "./connect.js";
import { ContradictionError, type Reading, storeOf } from "./contradictions.js";
import { changeHost, inspectClusters, placeOf, writeMark } from "./marks.js";

/**
 * Accepts the cluster behind a shard's endpoints, or behind those of the timeline host (index -1), as part of the store. Use
 * it after the cluster was rebuilt from its newest data. Rejects if the cluster belongs to something else, or lacks revisions
 * that the timeline has sealed. Resolves to false if it already belongs to the store. Restart running proxies afterwards.
 */
export async function adoptCluster(config: Config, index: number, log: Log): Promise<boolean> {
  const connections = await connect(config, log);
  try {
    return await adopt(connections, index);
  } finally {
    connections.disconnect();
  }
}

async function adopt(connections: Connections, index: number): Promise<boolean> {
  const { config, all, host, timeline } = connections;
  const { clusters, unreachable, contradictions } = await inspectClusters(connections);
  for (const [failed, error] of unreachable) {
    // All marks name the timeline host.
    if (failed === index || failed === host.index || index === host.index) throw error;
  }
  const others = contradictions.filter((each) => !(each.isAdoptable && each.cluster === index));
  if (others.length > 0) throw new ContradictionError(others, config);
  const cluster = all.find((each) => each.index === index)!;
  const readingOf = (of: ShardClient) => clusters.find((each) => each.index === of.index)?.reading as Reading;
  const reading = readingOf(cluster);
  await connections.openTimeline();
  if (index >= 0) refuseOlder(cluster, reading, timeline);
  const place = placeOf(host, readingOf(host));
  const store = storeOf(clusters, host.index);
  let isChanged = false;
  // A store of an older version has no marks yet: the first proxy that opens it writes them.
  if (store !== undefined && reading.marks.marks.length === 0) {
    isChanged = await writeMark(cluster, reading, store, place, index === host.index);
  }
  if (store !== undefined && index === host.index) {
    for (const each of all) {
      if (await changeHost(each, store, place, each === host)) isChanged = true;
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
