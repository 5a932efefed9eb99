import type { ShardSet } from "../shard/shardSet.js";
import { compactedAt, isServed } from "../timeline/compacted.js";
import type { Timeline, TimelineView } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";

/**
 * Returns the first shard revision that a watch from `revision`, which is at most the head, needs from a shard. Looks up
 * the revision itself, not the one before: if `revision` is the compacted one, the timeline may have pruned the latter.
 */
export function firstNeeded(
  timeline: Pick<TimelineView, "toShardRevision" | "cutAt">,
  revision: number,
  shard: number,
): number {
  return timeline.toShardRevision(revision, shard) ?? timeline.cutAt(revision, shard) + 1;
}

/** What is needed to find the revision of a shard's compaction. */
export type CompactionTimeline = Pick<
  Timeline,
  "head" | "compactRevision" | "cutAt" | "toRevision" | "toShardRevision" | "isSealed" | "seal" | "locator"
>;

/**
 * Finds the `compact_revision` for clients if shards compact themselves at different revisions. The first shard to refuse a
 * watch need not be the one with the newest compaction.
 */
export class Compactions {
  /** Requests in flight, by shard and shard revision. Watches that are refused together share them. */
  private readonly inFlight = new Map<string, Promise<number>>();

  constructor(
    private readonly timeline: CompactionTimeline,
    private readonly shards: ShardSet,
    private readonly runtime: Runtime,
  ) {}

  /**
   * Resolves to the lowest revision, not below `revision`, from which all of these shards serve watches and reads. Rejects
   * if a shard cannot be reached.
   */
  async firstServed(shards: readonly number[], revision: number): Promise<number> {
    return Math.max(
      revision,
      ...(await Promise.all(shards.map((shard) => this.firstServedBy(shard, revision)))),
    );
  }

  /** Like `firstServed`, but ignores shards that cannot be reached. Never rejects. */
  async firstServedByReachable(shards: readonly number[], revision: number): Promise<number> {
    const each = await Promise.allSettled(shards.map((shard) => this.firstServedBy(shard, revision)));
    return Math.max(revision, ...each.map((one) => (one.status === "fulfilled" ? one.value : 0)));
  }

  private firstServedBy(shard: number, revision: number): Promise<number> {
    const needed = Math.max(1, firstNeeded(this.timeline, this.timeline.locator.feedFrom(revision), shard));
    const name = `${shard} ${needed}`;
    let result = this.inFlight.get(name);
    if (result === undefined) {
      result = this.request(shard, needed).finally(() => this.inFlight.delete(name));
      this.inFlight.set(name, result);
    }
    return result;
  }

  /** Resolves to the shard's own `compact_revision`, or 0 if it serves the shard revision `needed`. */
  private async request(index: number, needed: number): Promise<number> {
    const shard = this.shards.at(index);
    if (await isServed(shard, needed)) return 0;
    return compactRevisionOf(this.timeline, index, await compactedAt(shard, this.runtime));
  }
}

/**
 * Resolves to the `compact_revision` for a shard that was compacted at shard revision `compacted`: the first revision at
 * which a watch of this shard can begin. Never below the store's compacted revision. To be called while no step is frozen.
 */
export async function compactRevisionOf(
  timeline: CompactionTimeline,
  shard: number,
  compacted: number,
): Promise<number> {
  if (!timeline.isSealed(shard, compacted)) {
    try {
      await timeline.seal(shard, compacted, true);
    } catch {
      // It is not in the timeline, so it is above all sealed revisions.
      return timeline.head + 1;
    }
  }
  const revision = timeline.toRevision(shard, compacted);
  const exact = timeline.toShardRevision(revision, shard) === compacted;
  // Events of a step that count after the compaction may have been lost with it.
  const whole = timeline.locator.wholeFrom(exact ? revision : revision + 1);
  return Math.max(timeline.compactRevision, whole);
}
