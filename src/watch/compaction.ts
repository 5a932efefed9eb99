import type { Timeline, TimelineView } from "../timeline/view.js";

/**
 * The first shard revision that a watch from `revision` (at most the head) needs of a shard. Asks for the revision
 * itself and not for the one before, of which the timeline may know nothing any more if `revision` is the
 * compacted one.
 */
export function firstNeeded(
  timeline: Pick<TimelineView, "toShardRevision" | "cutAt">,
  revision: number,
  shard: number,
): number {
  return timeline.toShardRevision(revision, shard) ?? timeline.cutAt(revision, shard) + 1;
}

/**
 * What `compact_revision` says of a shard that was compacted at `compacted`: the first revision that a watch of this
 * shard can begin at. Never below the store's own.
 */
export async function compactRevisionOf(
  timeline: Timeline,
  shard: number,
  compacted: number,
): Promise<number> {
  if (!timeline.isSealed(shard, compacted)) {
    try {
      await timeline.seal(shard, compacted, true);
    } catch {
      // Without its place in the timeline it is certainly above all that is there.
      return timeline.head + 1;
    }
  }
  const revision = timeline.toRevision(shard, compacted);
  const exact = timeline.toShardRevision(revision, shard) === compacted;
  return Math.max(timeline.compactRevision, exact ? revision : revision + 1);
}
