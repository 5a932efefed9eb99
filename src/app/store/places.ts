import type { ClusterAccess, Config } from "../../config/types.js";
import type { PlanShard } from "../../reshard/change.js";

/** Where a shard is, and how to connect to it. */
export interface ShardPlace extends ClusterAccess {
  readonly name: string;
  /** True for a shard that is not in the file, or that a plan has added since the start. */
  readonly joins?: boolean;
}

/**
 * Where a shard is that joins the store, and how to connect to it: as the configuration says for a shard of that name, else
 * where the store says, and as for all clusters.
 */
export function placeOfJoining(shard: Pick<PlanShard, "name" | "endpoints">, config: Config): ShardPlace {
  const { name } = shard;
  const own = config.shards.find((each) => each.name === name);
  const { endpoints, tls, auth } = own ?? { endpoints: shard.endpoints };
  const usesTls = endpoints.some((endpoint) => endpoint.startsWith("https://"));
  return {
    name,
    endpoints,
    joins: true,
    ...(usesTls && { tls: tls ?? config.shardTls ?? {} }),
    ...(auth !== undefined && { auth }),
  };
}
