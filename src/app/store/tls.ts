import type { ClusterAccess, Config } from "../../config/types.js";
import type { ShardTls } from "../../shard/tls.js";

/** TLS settings for a cluster. */
export function tlsOf({ tls, auth }: Omit<ClusterAccess, "endpoints">, config: Config): ShardTls | undefined {
  return tls && { ...tls, noCommonName: (auth ?? config.auth.own) !== undefined };
}
