import type { Logger } from "../../ops/log.js";
import { neededShards } from "../../reshard/neededShards.js";
import type { ShardSet } from "../../shard/shardSet.js";
import type { Timeline } from "../../timeline/view.js";

export interface RetiringOptions {
  readonly timeline: Pick<Timeline, "placement">;
  readonly shards: Pick<ShardSet<{ readonly name: string }>, "entries">;
  /** Index of the shard that is the timeline host, or -1. */
  /** The timeline host. */
  readonly host: { readonly index: number };
  readonly leases: { hasPartsOn(shard: number): boolean };
  readonly retireShard: (index: number) => void;
  readonly log: Pick<Logger, "info">;
}

/** Disconnects from the shards that plans have removed, once nothing needs them any more. */
export class Retiring {
  /** Shards that wait, as they were logged. */
  private readonly waiting = new Set<number>();

  constructor(private readonly options: RetiringOptions) {}

  /** Looks for shards to retire. To be called now and then, because leases may delay it. */
  check(): void {
    const { timeline, shards, host, leases, retireShard, log } = this.options;
    const { placement } = timeline;
    // Before the first plan, all shards are needed.
    if (placement.plans === 0) return;
    const needed = new Set(neededShards(placement));
    for (const [index, { name }] of shards.entries()) {
      if (needed.has(index) || index === host.index) this.waiting.delete(index);
      else if (!leases.hasPartsOn(index)) {
        this.waiting.delete(index);
        retireShard(index);
      } else if (!this.waiting.has(index)) {
        this.waiting.add(index);
        log.info({ shard: name }, "the shard can leave the store when its last leases have ended");
      }
    }
  }
}
