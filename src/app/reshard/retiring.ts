import { neededShards } from "../../reshard/neededShards.js";
import type { ShardSet } from "../../shard/shardSet.js";
import type { Timeline } from "../../timeline/view.js";

export interface RetiringOptions {
  readonly timeline: Pick<Timeline, "placement">;
  readonly shards: Pick<ShardSet<unknown>, "entries">;
  /** The timeline host. */
  readonly host: { readonly index: number };
  readonly retireShard: (index: number) => void;
}

/**
 * Disconnects from the shards that plans have removed, once no old revision needs them any more. Leases have given up their parts
 * there when the plan ended.
 */
export class Retiring {
  constructor(private readonly options: RetiringOptions) {}

  /** Looks for shards to retire. To be called when the placement has changed, and now and then, because the host may move. */
  check(): void {
    const { timeline, shards, host, retireShard } = this.options;
    const { placement } = timeline;
    // Before the first plan, all shards are needed.
    if (placement.plans === 0) return;
    const needed = new Set(neededShards(placement));
    for (const [index] of shards.entries()) {
      if (!needed.has(index) && index !== host.index) retireShard(index);
    }
  }
}
