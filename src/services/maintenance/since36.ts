import type { DowngradeInfo, StatusResponse } from "../../wire/messages.js";
import { lowest } from "./versions.js";

/** The fields of a status that etcd reports since 3.6. */
export type Since36 = Pick<StatusResponse, "storageVersion" | "dbSizeQuota" | "downgradeInfo">;

/**
 * These fields for a store, from the statuses of its shards. None while a shard runs an older etcd, because the store's
 * version is the lowest, and etcds of that version do not have them. Quotas are summed like sizes, and -1 if a shard has
 * none. The storage version is the lowest, and empty while a shard does not know its own. A downgrade is enabled
 * if it is on any shard.
 */
export function since36(shards: readonly StatusResponse[]): Partial<Since36> {
  const downgrades = shards.flatMap(({ downgradeInfo }) => downgradeInfo ?? []);
  if (downgrades.length < shards.length) return {};
  const formats = shards.map(({ storageVersion }) => storageVersion);
  const quotas = shards.map(({ dbSizeQuota }) => dbSizeQuota);
  return {
    storageVersion: formats.includes("") ? "" : formats.reduce(lowest),
    dbSizeQuota: quotas.some((quota) => quota < 0) ? -1 : quotas.reduce((total, quota) => total + quota),
    downgradeInfo: merged(downgrades),
  };
}

function merged(downgrades: readonly DowngradeInfo[]): DowngradeInfo {
  const enabled = downgrades.filter((each) => each.enabled);
  if (enabled.length === 0) return { enabled: false, targetVersion: "" };
  return { enabled: true, targetVersion: enabled.map((each) => each.targetVersion).reduce(lowest) };
}
