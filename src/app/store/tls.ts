import type { Config } from "../../config/types.js";
import type { ShardTls } from "../../shard/tls.js";

/** TLS settings for the shard of that index, or, with -1, for a timeline host that is not a shard. */
export function shardTls({ shards, timeline, auth }: Config, index: number): ShardTls | undefined {
  const cluster = index >= 0 ? shards[index] : timeline.kind === "dedicated" ? timeline : undefined;
  if (cluster?.tls === undefined) return undefined;
  return { ...cluster.tls, noCommonName: (cluster.auth ?? auth.own) !== undefined };
}
