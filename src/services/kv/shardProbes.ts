import type { Shard } from "../../shard/shard.js";
import type { Timeline } from "../../timeline/view.js";
import { KV } from "../../wire/paths.js";
import { PROBE } from "../../wire/probe.js";
import { peekRevision } from "../../wire/rewrite.js";

/** A shard is not probed again within this time, in milliseconds. etcd itself checks for expired leases twice a second. */
const FRESH_MS = 250;
/** How long a shard may take, in milliseconds. Without a quorum nothing happens there either. */
const PROBE_TIMEOUT_MS = 1_000;

const DONE = Promise.resolve();

/** The last probe of a shard. */
interface Probe {
  /** `performance.now()` when it began. */
  readonly begun: number;
  readonly done: Promise<void>;
}

const NEVER: Probe = { begun: Number.NEGATIVE_INFINITY, done: DONE };

/**
 * Finds what happened on a shard without any proxy's doing, above all that leases expired. Such a revision is sealed by
 * the first watch or read that meets it, but a read at the timeline's cut does not. So the shards are probed first,
 * unless that was done a moment ago.
 */
export class ShardProbes {
  /** By shard. */
  private readonly probes = new Map<number, Probe>();

  constructor(
    private readonly timeline: Timeline,
    private readonly shardAt: (index: number) => Shard,
  ) {}

  /** Resolves when all that had happened on `shards` `FRESH_MS` ago is sealed, as far as they can be reached. Never rejects. */
  async seal(shards: readonly number[]): Promise<void> {
    const now = performance.now();
    await Promise.all(shards.map((shard) => this.sealOne(shard, now)));
  }

  /** Records that all that had happened on a shard at `begun`, a `performance.now()`, is sealed. */
  sealed(shard: number, begun: number): void {
    if (begun > this.last(shard).begun) this.probes.set(shard, { begun, done: DONE });
  }

  private sealOne(shard: number, now: number): Promise<void> {
    const last = this.last(shard);
    if (now - last.begun < FRESH_MS) return last.done;
    const done = this.probe(shard).catch(() => undefined);
    this.probes.set(shard, { begun: now, done });
    return done;
  }

  private async probe(shard: number): Promise<void> {
    const options = { idempotent: true, deadline: Date.now() + PROBE_TIMEOUT_MS };
    const response = await this.shardAt(shard).call(KV.Range, PROBE, options);
    await this.timeline.seal(shard, peekRevision(response), false);
  }

  private last(shard: number): Probe {
    return this.probes.get(shard) ?? NEVER;
  }
}
