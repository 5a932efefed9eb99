import type { Logger } from "../ops/log.js";
import type { Imports } from "../reshard/importsCodec.js";
import { RangeReader } from "../shard/rangeReader.js";
import type { Shard } from "../shard/shard.js";
import type { ShardSet } from "../shard/shardSet.js";
import { etcd } from "../status/etcd.js";
import type { Runtime } from "../turn/runtime.js";
import { TO_LAST_KEY } from "../wire/keyRange.js";
import { RangeRequest, RangeResponse } from "../wire/messages.js";
import { KV } from "../wire/paths.js";
import { compactedAt } from "./compacted.js";
import { pruneTable } from "./pruneTable.js";
import type { SharedTimeline } from "./timeline.js";

/** The table is pruned when it has more than twice the segments that the last pruning left, plus this many (25 bytes each). */
const SLACK_SEGMENTS = 32_768;
/** Keys in one page of a scan. */
const PAGE_KEYS = 5_000;
/** Longest wait before pruning. The wait is random, so that one of several proxies prunes first and spares the others the work. */
const MAX_WAIT_MS = 15_000;

const FIRST_KEY = Uint8Array.of(1);

/** Shortest time between two checks of whether the shards compact themselves. */
const CHECK_INTERVAL_MS = 60_000;

/**
 * Shrinks the segment table after compactions, when it has grown enough. It reads from every shard which revisions are
 * the create or mod revision of a key at the compaction, and writes a base without the others.
 *
 * Where the shards compact themselves (etcd's auto-compaction), it logs the compaction that all shards have done already.
 * That loses nothing, because every shard has compacted the older revisions.
 */
export class Pruner {
  private busy = false;
  private stopped = false;
  private nextCheck = Number.NEGATIVE_INFINITY;
  private cancelWait: () => void = () => {};
  private readonly unsubscribe: () => void;

  constructor(
    private readonly timeline: SharedTimeline,
    private readonly shards: ShardSet,
    private readonly runtime: Runtime,
    private readonly log: Pick<Logger, "info" | "warn">,
    /** See `SLACK_SEGMENTS`; smaller in tests. */
    private readonly slack = SLACK_SEGMENTS,
  ) {
    this.unsubscribe = timeline.onAdvance(() => this.consider());
  }

  stop(): void {
    this.stopped = true;
    this.unsubscribe();
    this.cancelWait();
  }

  private get isLarge(): boolean {
    const { base, fold } = this.timeline.log;
    return fold.snapshot().table.count > 2 * base.prunedCount + this.slack;
  }

  private get isCompacted(): boolean {
    return this.timeline.compactRevision > this.timeline.log.base.prunedAt;
  }

  private consider(): void {
    if (this.busy || this.stopped || !this.isLarge || this.timeline.isSole) return;
    if (!this.isCompacted && this.runtime.now() < this.nextCheck) return;
    this.busy = true;
    this.cancelWait = this.runtime.timer(this.runtime.random() * MAX_WAIT_MS, () => {
      this.work()
        .catch((error: Error) => this.log.warn({ err: error }, "timeline not pruned, will try again"))
        .finally(() => {
          this.busy = false;
        });
    });
  }

  private async work(): Promise<void> {
    if (this.stopped || !this.isLarge) return;
    if (!this.isCompacted) {
      this.nextCheck = this.runtime.now() + CHECK_INTERVAL_MS;
      await this.adoptCompaction();
    }
    if (!this.stopped && this.isCompacted) await this.prune();
  }

  /** Logs the newest compaction that every shard has done, if the timeline is not compacted there yet. */
  async adoptCompaction(): Promise<void> {
    const { timeline } = this;
    const compacted = await Promise.all(
      this.shards.all().map(async (shard) => [shard.index, await compactedAt(shard, this.runtime)] as const),
    );
    const revision = Math.min(
      ...compacted.map(([shard, shardRevision]) =>
        timeline.toRevision(shard, Math.min(shardRevision, timeline.cut(shard))),
      ),
    );
    if (revision > timeline.compactRevision) await timeline.compact(revision);
  }

  /**
   * Prunes now, for the newest compaction: segments, twins and version offsets. Spares what reads below a move need. Resolves to
   * false when another proxy wrote a base meanwhile.
   */
  async prune(): Promise<boolean> {
    const { timeline } = this;
    const at = timeline.locator.compactionAt(timeline.compactRevision);
    const shown = await Promise.all(
      this.shards.all().map(async (shard) => {
        const { index } = shard;
        const until = timeline.lastAt(at, index);
        return { index, until, revisions: await shownRevisions(shard, until, this.runtime) };
      }),
    );
    const before = timeline.log.fold.snapshot().table;
    // Retired shards have no keys, and those that have joined in the meantime had none at the compaction.
    const live = Array.from({ length: before.shardCount }, (): ArrayLike<number> => []);
    for (const { index, revisions } of shown) live[index] = revisions;
    const table = pruneTable(before, at, live);
    const segments = { before: before.count, after: table.count };
    const written = await timeline.log.writeBase({
      pruned: { table, at, imports: this.pruneImports(shown) },
    });
    if (written) this.log.info({ compactRevision: at, segments }, "timeline pruned");
    return written;
  }

  /** Without the imports that no key shows any more. */
  private pruneImports(shown: readonly Shown[]): Imports {
    const { twins, offsets } = this.timeline.placement;
    if (!this.timeline.hasImports) return { twins, offsets };
    const untils: number[] = [];
    const live: ReadonlySet<number>[] = [];
    for (const { index, until, revisions } of shown) {
      untils[index] = until;
      live[index] = new Set(revisions);
    }
    return { twins: twins.pruned(untils, live), offsets: offsets.pruned(untils, live) };
  }
}

/** The create and mod revisions of the keys of a shard at the shard revision `until`. */
interface Shown {
  readonly index: number;
  readonly until: number;
  readonly revisions: Float64Array;
}

/**
 * The create and mod revisions in a shard's state at `shardRevision` or, when the shard has compacted itself beyond that,
 * at its compaction.
 */
async function shownRevisions(shard: Shard, shardRevision: number, runtime: Runtime): Promise<Float64Array> {
  try {
    return await liveRevisions(shard, shardRevision);
  } catch (reason) {
    if (!etcd.compacted.is(reason)) throw reason;
    return await liveRevisions(shard, await compactedAt(shard, runtime));
  }
}

/** The create and mod revisions of a shard's keys at `shardRevision`, ascending, without duplicates. */
async function liveRevisions(shard: Shard, revision: number): Promise<Float64Array> {
  const reader = new RangeReader(async ({ from, to }) => {
    const range = { key: from, rangeEnd: to ?? TO_LAST_KEY, revision, limit: PAGE_KEYS, keysOnly: true };
    return RangeResponse.decode(await shard.call(KV.Range, RangeRequest.encode(range), { idempotent: true }));
  }, PAGE_KEYS);
  const found = new Set<number>();
  for await (const kvs of reader.pages(FIRST_KEY, null)) {
    for (const { createRevision, modRevision } of kvs) {
      found.add(createRevision);
      found.add(modRevision);
    }
  }
  return Float64Array.from(found).sort();
}
