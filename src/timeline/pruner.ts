import type { Shard } from "../shard/shard.js";
import { RangeRequest, RangeResponse } from "../wire/messages.js";
import { KV } from "../wire/paths.js";
import type { Runtime } from "./host.js";
import { pruneTable } from "./prune.js";
import type { SharedTimeline } from "./timeline.js";

/** The table may grow to twice what the last pruning left plus this many segments (25 bytes each) before it is pruned. */
const SLACK = 32_768;
/** Keys in one page of a scan. */
const PAGE = 5_000;
/** Longest wait before pruning, ms, drawn by chance so that one of several proxies is first and the others need not. */
const MAX_WAIT = 15_000;

const FIRST_KEY = Uint8Array.of(1);
const NO_END = Uint8Array.of(0);

export interface PrunerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/**
 * Shrinks the segment table after compactions, when it has become worth it: reads which revisions are still
 * some key's create or mod revision at the compaction, from every shard, and writes a base without the rest.
 */
export class Pruner {
  private busy = false;
  private stopped = false;
  private cancelWait: () => void = () => {};
  private readonly unsubscribe: () => void;

  constructor(
    private readonly timeline: SharedTimeline,
    private readonly shards: readonly Shard[],
    private readonly runtime: Runtime,
    private readonly log: PrunerLog,
  ) {
    this.unsubscribe = timeline.onAdvance(() => this.consider());
  }

  stop(): void {
    this.stopped = true;
    this.unsubscribe();
    this.cancelWait();
  }

  private isWorthIt(): boolean {
    const { base, fold } = this.timeline.log;
    return (
      this.timeline.compactRevision > base.prunedAt &&
      fold.snapshot().table.count > 2 * base.prunedCount + SLACK
    );
  }

  private consider(): void {
    if (this.busy || this.stopped || !this.isWorthIt()) return;
    this.busy = true;
    this.cancelWait = this.runtime.timer(this.runtime.random() * MAX_WAIT, () => {
      const run = !this.stopped && this.isWorthIt() ? this.prune() : Promise.resolve();
      run
        .catch((error: Error) => this.log.warn({ err: error }, "timeline not pruned, will try again"))
        .finally(() => {
          this.busy = false;
        });
    });
  }

  /** Prunes now, for the newest compaction. False when another proxy wrote a base meanwhile. */
  async prune(): Promise<boolean> {
    const { timeline } = this;
    const at = timeline.compactRevision;
    const live = await Promise.all(
      this.shards.map((shard, index) => liveRevisions(shard, timeline.lastAt(at, index))),
    );
    const before = timeline.log.fold.snapshot().table;
    const table = pruneTable(before, at, live);
    const segments = { before: before.count, after: table.count };
    const written = await timeline.log.writeBase({ pruned: { table, at } });
    if (written) this.log.info({ compactRevision: at, segments }, "timeline pruned");
    return written;
  }
}

/** All create and mod revisions of a shard's keys at `shardRevision`, ascending, each once. */
async function liveRevisions(shard: Shard, shardRevision: number): Promise<Float64Array> {
  const found = new Set<number>();
  let key = FIRST_KEY;
  for (;;) {
    const request = RangeRequest.encode({
      key,
      rangeEnd: NO_END,
      revision: shardRevision,
      limit: PAGE,
      keysOnly: true,
    });
    const page = RangeResponse.decode(await shard.call(KV.Range, request, { idempotent: true }));
    for (const { createRevision, modRevision } of page.kvs) {
      found.add(createRevision);
      found.add(modRevision);
    }
    if (!page.more) return Float64Array.from(found).sort();
    const last = page.kvs[page.kvs.length - 1].key;
    key = new Uint8Array(last.length + 1);
    key.set(last);
  }
}
