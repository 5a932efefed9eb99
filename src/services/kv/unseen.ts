import type { Shard } from "../../shard/shard.js";
import type { Timeline } from "../../timeline/view.js";
import { KV } from "../../wire/paths.js";
import { PROBE } from "../../wire/probe.js";
import { peekRevision } from "../../wire/rewrite.js";

/** How long a shard counts as looked at, ms. etcd itself looks for expired leases twice a second. */
const FRESH = 250;
/** How long a shard may take, ms; without a quorum nothing happens there either. */
const TIMEOUT = 1_000;

const DONE = Promise.resolve();

/**
 * What happens on a shard without any proxy's doing, above all that leases expire, is sealed by whoever sees it: a
 * watch, or a read of that shard. A read at the timeline's cut does not see it, so the shards are looked at first,
 * unless that was done a moment ago.
 */
export class Unseen {
  private readonly looks: { begun: number; done: Promise<void> }[];

  constructor(
    private readonly timeline: Timeline,
    private readonly shards: readonly Shard[],
  ) {
    this.looks = shards.map(() => ({ begun: Number.NEGATIVE_INFINITY, done: DONE }));
  }

  /** Resolves when all that had happened on the shards `FRESH` ms ago is sealed, as far as they can be reached. */
  async seal(shards: readonly number[]): Promise<void> {
    const now = performance.now();
    await Promise.all(
      shards.map((shard) => {
        const look = this.looks[shard];
        if (now - look.begun < FRESH) return look.done;
        const done = this.look(shard).catch(() => undefined);
        this.looks[shard] = { begun: now, done };
        return done;
      }),
    );
  }

  /** All that had happened on a shard at `begun`, `performance.now()`, has been sealed. */
  sealed(shard: number, begun: number): void {
    if (begun > this.looks[shard].begun) this.looks[shard] = { begun, done: DONE };
  }

  private async look(shard: number): Promise<void> {
    const options = { idempotent: true, deadline: Date.now() + TIMEOUT };
    const response = await this.shards[shard].call(KV.Range, PROBE, options);
    await this.timeline.seal(shard, peekRevision(response), false);
  }
}
