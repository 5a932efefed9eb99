import type { ClusterAccess, Config } from "../../config/types.js";
import type { PlanShard } from "../../reshard/change.js";

/** Where a shard is, and how to connect to it. */
export interface ShardPlace extends ClusterAccess {
  readonly name: string;
  /** True for a shard that a plan has added, and that was not in the file at the start. */
  readonly joins?: boolean;
}

/**
 * Where a shard is that joins the store, and how to connect to it: as the configuration says for a shard of that name, else
 * as for all clusters.
 */
export function placeOfJoining({ name, endpoints }: PlanShard, config: Config): ShardPlace {
  const { tls, auth } = config.shards.find((shard) => shard.name === name) ?? {};
  const usesTls = endpoints.some((endpoint) => endpoint.startsWith("https://"));
  return {
    name,
    endpoints,
    joins: true,
    ...(usesTls && { tls: tls ?? config.shardTls ?? {} }),
    ...(auth !== undefined && { auth }),
  };
}
