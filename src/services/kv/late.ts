import { describeShard } from "../../shard/name.js";
import { Code, StatusError } from "../../status/error.js";
import type { KvContext } from "./context.js";

/*
 * Responses of shards that this proxy handles late: it was stopped, or cut off from the log, while a compaction passed their
 * revisions and the timeline forgot what clients need no more. Reads are repeated. Writes have taken effect, so they never are.
 */

/**
 * The revision of a sealed write. Throws UNAVAILABLE if the timeline may have forgotten it, or those of the values before it or at
 * `read`, a revision at which it has read.
 */
export function revisionOfWrite(
  { timeline, shardAt }: Pick<KvContext, "timeline" | "shardAt">,
  shard: number,
  shardRevision: number,
  read = Number.POSITIVE_INFINITY,
): number {
  const revision = timeline.toRevision(shard, shardRevision);
  if (revision > timeline.prunedAt && read >= timeline.prunedAt) return revision;
  throw new StatusError(
    Code.UNAVAILABLE,
    `${describeShard(shardAt(shard))}: the response came too late, its revision is compacted; the write has taken effect`,
  );
}

/** The error of a deletion on a shard that also held keys of others, if it is not known any more which keys these were. */
export function unknownDeletion({ shardAt }: Pick<KvContext, "shardAt">, shard: number): StatusError {
  return new StatusError(
    Code.UNAVAILABLE,
    `${describeShard(shardAt(shard))}: the response came too late, its revision is compacted; which keys were deleted is unknown`,
  );
}
