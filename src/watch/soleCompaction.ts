import type { ShardSet } from "../shard/shardSet.js";
import { compactedAt, isServed } from "../timeline/compacted.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import { firstNeeded } from "./compaction.js";

/**
 * Finds out whether the shard of a sole store was compacted through another proxy, which no entry tells. Without it, a watch from a
 * compacted revision would be served from memory instead of being refused. One question at a time answers all that wait.
 */
export class SoleCompaction {
  private waiting: { readonly revision: number; readonly done: () => void }[] = [];
  private isBusy = false;

  constructor(
    private readonly timeline: Timeline,
    private readonly shards: ShardSet,
    private readonly runtime: Runtime,
  ) {}

  /**
   * Resolves when the timeline knows of the compaction if `revision` was compacted before the call, or if the shard cannot be
   * reached. Undefined if there is nothing to find out.
   */
  learn(revision: number): Promise<void> | undefined {
    const { isSole, head, compactRevision } = this.timeline;
    if (!isSole || revision > head || revision < compactRevision) return undefined;
    return new Promise((done) => {
      this.waiting.push({ revision, done });
      if (!this.isBusy) void this.work();
    });
  }

  private async work(): Promise<void> {
    this.isBusy = true;
    while (this.waiting.length > 0) {
      const asked = this.waiting;
      this.waiting = [];
      await this.ask(Math.min(...asked.map(({ revision }) => revision))).catch(() => {});
      for (const { done } of asked) done();
    }
    this.isBusy = false;
  }

  private async ask(revision: number): Promise<void> {
    const { timeline } = this;
    const shard = this.shards.first;
    if (await isServed(shard, Math.max(1, firstNeeded(timeline, revision, shard.index)))) return;
    const compacted = await compactedAt(shard, this.runtime);
    timeline.compacted(timeline.toRevision(shard.index, compacted));
  }
}
