import { describeShard } from "../shard/name.js";
import { Code, StatusError } from "../status/error.js";
import type { Loaded, NextHost } from "./host.js";
import { markKey } from "./keys.js";
import { decodeMark } from "./mark.js";

/**
 * Throws DATA_LOSS if a cluster to which the log of `store` has moved does not carry the store's mark: another cluster has its
 * address now, or it has lost its data. A base written there would begin a second log.
 */
export function requireMark(
  { keys }: Loaded,
  { shard, name, clusterId }: NextHost,
  store: string | undefined,
): void {
  if (store === undefined) return;
  const key = markKey(store).toString("latin1");
  const mark = keys.find((each) => each.key === key);
  if (mark !== undefined && decodeMark(store, mark.value).index === shard) return;
  const place = shard < 0 ? "a cluster of its own" : describeShard({ name });
  throw new StatusError(
    Code.DATA_LOSS,
    `etcd-braid: the timeline has moved to ${place} (etcd cluster ${clusterId}), but the cluster at its endpoints does not carry ` +
      "the mark of that cluster: give this proxy the file that names the timeline host of today, or the cluster its data",
  );
}
