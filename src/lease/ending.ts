import { Code, StatusError } from "../status/error.js";
import type { Timeline } from "../timeline/view.js";
import type { LeaseCalls } from "./calls.js";
import { Lane } from "./lane.js";
import type { LeaseLog } from "./log.js";
import type { Parts } from "./parts.js";

/** How long somebody who asked for the end of a lease waits for it, ms. It goes on without them. */
const PATIENCE = 5_000;
/** Revocations under way at one shard; each waits for its seal, and waiting together they share an append. */
const LANE_WIDTH = 64;
const RETRY_MS = 500;

interface Ending {
  /** Shards whose part is not known to be gone yet. */
  readonly remaining: Set<number>;
  /** Shards that have been dealt with. */
  readonly done: Set<number>;
  /** True when the home still had the lease. */
  homeHadIt: boolean;
  waiters: ((error?: StatusError) => void)[];
}

/**
 * Ends leases: revokes the parts on all shards, seals the deletions, and takes the lease from the timeline.
 * Once begun it is carried through, over outages of shards and of the timeline host; several proxies may end
 * the same lease at the same time.
 */
export class Endings {
  private readonly endings = new Map<bigint, Ending>();
  private readonly lanes: Lane[];
  private readonly closing: Lane;

  constructor(
    private readonly calls: LeaseCalls,
    private readonly parts: Parts,
    private readonly timeline: Timeline,
    private readonly homeOf: (lease: bigint) => number,
    log: LeaseLog,
    shardNames: readonly string[],
  ) {
    const lane = (where: string, run: (lease: bigint) => Promise<void>) =>
      new Lane({
        width: LANE_WIDTH,
        retryMs: RETRY_MS,
        run,
        failed: (lease, reason) => {
          const error = StatusError.from(reason);
          log.warn({ lease: lease.toString(), where }, `a lease could not be ended yet: ${error.message}`);
          this.settle(lease, error);
        },
      });
    this.lanes = shardNames.map((name, shard) => lane(`shard "${name}"`, (id) => this.revoke(id, shard)));
    this.closing = lane("timeline", (id) => this.close(id));
  }

  get size(): number {
    return this.endings.size;
  }

  /** True from the moment a lease is known to have ended until its last part is gone. */
  isEnding(lease: bigint): boolean {
    return this.endings.has(lease);
  }

  /**
   * Ends a lease, or joins its end under way. Resolves when all parts are gone and sealed: true if this ending
   * has found the lease alive at its home. Rejects when a part can not be reached; the ending goes on.
   * `more` are shards that may have a part which the timeline does not know (any more).
   */
  end(lease: bigint, more: readonly number[] = []): Promise<boolean> {
    let ending = this.endings.get(lease);
    if (ending === undefined) {
      ending = { remaining: new Set(), done: new Set(), homeHadIt: false, waiters: [] };
      this.endings.set(lease, ending);
    }
    const done = this.wait(ending);
    this.extend(lease, ending, [...this.parts.shardsOf(lease), ...more]);
    return done;
  }

  /** The same, for those who need not know when: errors have been logged. */
  endInBackground(lease: bigint, more: readonly number[] = []): void {
    this.end(lease, more).catch(() => undefined);
  }

  stop(): void {
    for (const lane of [...this.lanes, this.closing]) lane.stop();
    const error = new StatusError(Code.UNAVAILABLE, "etcd-braid: the proxy is shutting down");
    for (const lease of [...this.endings.keys()]) this.settle(lease, error);
  }

  private wait(ending: Ending): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const text = "etcd-braid: the lease has ended, but not all of its keys could be deleted in time yet";
      const late = setTimeout(() => reject(new StatusError(Code.UNAVAILABLE, text)), PATIENCE);
      ending.waiters.push((error) => {
        clearTimeout(late);
        if (error === undefined) resolve(ending.homeHadIt);
        else reject(error);
      });
    });
  }

  private extend(lease: bigint, ending: Ending, shards: readonly number[]): void {
    const added = shards.filter((shard) => !ending.done.has(shard) && !ending.remaining.has(shard));
    for (const shard of added) ending.remaining.add(shard);
    for (const shard of added) this.lanes[shard].add(lease);
  }

  private async revoke(lease: bigint, shard: number): Promise<void> {
    const ending = this.endings.get(lease);
    if (ending === undefined) return;
    const had = await this.calls.revoke(shard, lease);
    if (had && shard === this.homeOf(lease)) ending.homeHadIt = true;
    ending.remaining.delete(shard);
    ending.done.add(shard);
    if (ending.remaining.size === 0) this.closing.add(lease);
  }

  /**
   * All known parts are gone, the home among them: from now on nobody completes a placement (who places looks
   * at the home again afterwards). What was logged meanwhile is in the log's end.
   */
  private async close(lease: bigint): Promise<void> {
    const ending = this.endings.get(lease);
    if (ending === undefined) return;
    await this.timeline.sync();
    this.extend(lease, ending, this.parts.shardsOf(lease));
    if (ending.remaining.size > 0) return;
    if (this.parts.isPlaced(lease)) await this.timeline.unplace(lease);
    if (ending.remaining.size > 0) return;
    this.parts.forget(lease);
    this.endings.delete(lease);
    this.tell(ending);
  }

  /** Tells those who wait; the ending goes on. */
  private settle(lease: bigint, error: StatusError): void {
    const ending = this.endings.get(lease);
    if (ending !== undefined) this.tell(ending, error);
  }

  private tell(ending: Ending, error?: StatusError): void {
    const { waiters } = ending;
    ending.waiters = [];
    for (const waiter of waiters) waiter(error);
  }
}
