import type { DowngradeInfo, StatusResponse } from "../../wire/messages.js";
import { lowest } from "./versions.js";

/** What etcd tells of its state since 3.6. */
export type Since36 = Pick<StatusResponse, "storageVersion" | "dbSizeQuota" | "downgradeInfo">;

/**
 * The same of a store, by the states of its shards. Nothing while one of them is of an older etcd: the store's version
 * is the lowest, and etcds of that version tell nothing. Quotas are summed as sizes are, and a shard without a quota leaves
 * the store without one (-1). The format is the lowest, and empty while a shard does not know its own. A downgrade is
 * enabled as soon as it is on one shard.
 */
export function since36(shards: readonly StatusResponse[]): Partial<Since36> {
  const downgrades = shards.flatMap(({ downgradeInfo }) => downgradeInfo ?? []);
  if (downgrades.length < shards.length) return {};
  const formats = shards.map(({ storageVersion }) => storageVersion);
  const quotas = shards.map(({ dbSizeQuota }) => dbSizeQuota);
  return {
    storageVersion: formats.includes("") ? "" : formats.reduce(lowest),
    dbSizeQuota: quotas.some((quota) => quota < 0) ? -1 : quotas.reduce((total, quota) => total + quota),
    downgradeInfo: together(downgrades),
  };
}

function together(downgrades: readonly DowngradeInfo[]): DowngradeInfo {
  const enabled = downgrades.filter((each) => each.enabled);
  if (enabled.length === 0) return { enabled: false, targetVersion: "" };
  return { enabled: true, targetVersion: enabled.map((each) => each.targetVersion).reduce(lowest) };
}
