import type { Shard } from "../shard/shard.js";
import { compactedAt, isServed } from "../timeline/compacted.js";
import type { Timeline, TimelineView } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";

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

/** What it takes to give a shard's compaction its place. */
export type CompactionTimeline = Pick<
  Timeline,
  "head" | "compactRevision" | "cutAt" | "toRevision" | "toShardRevision" | "isSealed" | "seal"
>;

/**
 * Finds the `compact_revision` for clients where shards compact themselves, each at another revision: the first shard that
 * refuses a watch may not be the one that is compacted furthest.
 */
export class Compactions {
  /** Requests in flight, by shard and shard revision: many watches are refused at once, and share them. */
  private readonly asking = new Map<string, Promise<number>>();

  constructor(
    private readonly timeline: CompactionTimeline,
    private readonly shards: readonly Shard[],
    private readonly runtime: Runtime,
  ) {}

  /**
   * The least revision, at or after `revision`, from which all of these shards serve watches and reads. Rejects when one
   * of them can not be asked.
   */
  async firstServed(shards: readonly number[], revision: number): Promise<number> {
    return Math.max(revision, ...(await Promise.all(shards.map((shard) => this.ask(shard, revision)))));
  }

  /** The same, leaving out shards that can not be asked. Never rejects. */
  async firstServedByReachable(shards: readonly number[], revision: number): Promise<number> {
    const each = await Promise.allSettled(shards.map((shard) => this.ask(shard, revision)));
    return Math.max(revision, ...each.map((one) => (one.status === "fulfilled" ? one.value : 0)));
  }

  private ask(shard: number, revision: number): Promise<number> {
    const needed = Math.max(1, firstNeeded(this.timeline, revision, shard));
    const name = `${shard} ${needed}`;
    let asked = this.asking.get(name);
    if (asked === undefined) {
      asked = this.look(shard, needed).finally(() => this.asking.delete(name));
      this.asking.set(name, asked);
    }
    return asked;
  }

  /** The shard's own `compact_revision`; 0 where it serves what is needed. */
  private async look(index: number, needed: number): Promise<number> {
    const shard = this.shards[index]!;
    if (await isServed(shard, needed)) return 0;
    return compactRevisionOf(this.timeline, index, await compactedAt(shard, this.runtime));
  }
}

/**
 * What `compact_revision` says of a shard that was compacted at `compacted`: the first revision that a watch of this
 * shard can begin at. Never below the store's own.
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
      // Without its place in the timeline it is certainly above all that is there.
      return timeline.head + 1;
    }
  }
  const revision = timeline.toRevision(shard, compacted);
  const exact = timeline.toShardRevision(revision, shard) === compacted;
  return Math.max(timeline.compactRevision, exact ? revision : revision + 1);
}
