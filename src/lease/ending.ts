import type { Logger } from "../ops/log.js";
import { Code, StatusError, withDetail } from "../status/error.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import type { LeaseCalls } from "./calls.js";
import { Lane } from "./lane.js";
import type { Parts } from "./parts.js";

/** How long somebody who asked for the end of a lease waits for it, ms. It goes on without them. */
const PATIENCE = 5_000;
/** Revocations under way at one shard; each waits for its seal, and waiting together they share an append. */
const LANE = { width: 64, retryMs: 500 };
/** At most one log line about a place where leases can not be ended in this time, ms. */
const LOG_EVERY = 10_000;

interface Ending {
  /** What was known of the lease's placements when it began (`Parts.identify`); undefined when it had none. */
  readonly placed: object | undefined;
  /** Shards besides the home whose part is to be revoked. */
  readonly remaining: Set<number>;
  /** True when the home was asked before, in vain. */
  tried: boolean;
  /** True when the home has been freed of the lease, or found without it. */
  homeGone: boolean;
  /** True when this ending has found the lease at its home. */
  homeHadIt: boolean;
  /** Newest revision at which a part was found and revoked; 0 before. */
  revision: number;
  /** True when `remaining` has all that the log's end knew after the home was gone. */
  complete: boolean;
  waiters: ((error?: StatusError) => void)[];
}

/** How a lease has ended. */
export interface Ended {
  /** True if this ending has found the lease alive at its home. */
  readonly found: boolean;
  /** The revision of its deletions, of several shards the last; lower than any that is new where there were no keys. */
  readonly revision: number;
}

/**
 * Ends leases: revokes the home, then the parts on all other shards, seals the deletions, and takes the lease
 * from the timeline. Once begun it is carried through, over outages of shards and of the timeline host; several
 * proxies may end the same lease at the same time. A lease that has no placements is left alone when its home can
 * not be reached, as it would be by an etcd: nothing else hangs on it, and its client may end it elsewhere.
 *
 * The home goes first, then the log is read, then the parts go: whoever places a part logs it, grants it and
 * then looks at the home. If they still see it there, their part is in the log that is read here; if they do
 * not, they end the lease themselves. In any other order a part could slip through.
 */
export class Endings {
  /** Leases whose last part is gone, ever. */
  ended = 0;
  private readonly endings = new Map<bigint, Ending>();
  private readonly lanes: Lane[];
  private readonly closing: Lane;

  constructor(
    private readonly calls: LeaseCalls,
    private readonly parts: Parts,
    private readonly timeline: Timeline,
    private readonly homeOf: (lease: bigint) => number,
    log: Pick<Logger, "warn">,
    private readonly shardNames: readonly string[],
    private readonly runtime: Runtime,
  ) {
    this.lanes = shardNames.map((name, shard) => {
      const failed = this.reporter(log, `shard "${name}"`, shard);
      return new Lane({ ...LANE, runtime, run: (lease) => this.revoke(lease, shard), failed });
    });
    const failed = this.reporter(log, "timeline");
    this.closing = new Lane({ ...LANE, runtime, run: (lease) => this.close(lease), failed });
  }

  get size(): number {
    return this.endings.size;
  }

  /** True from the moment a lease is known to have ended until its last part is gone. */
  isEnding(lease: bigint): boolean {
    return this.endings.has(lease);
  }

  /**
   * Ends a lease, or joins its end under way. Resolves when all parts are gone and sealed. Rejects when a
   * part can not be reached; the ending goes on.
   * `more` are shards that may have a part which the timeline does not know (any more).
   */
  end(lease: bigint, more: readonly number[] = []): Promise<Ended> {
    let ending = this.endings.get(lease);
    const begins = ending === undefined;
    if (ending === undefined) {
      const placed = this.parts.identify(lease);
      const nothing = { tried: false, homeGone: false, homeHadIt: false, revision: 0, complete: false };
      ending = { placed, remaining: new Set(), ...nothing, waiters: [] };
      this.endings.set(lease, ending);
    }
    const done = this.wait(lease, ending);
    this.extend(lease, ending, more);
    if (begins) this.lanes[this.homeOf(lease)].add(lease);
    return done;
  }

  /** The same, for those who need not know when: errors have been logged. */
  endInBackground(lease: bigint, more: readonly number[] = []): void {
    this.end(lease, more).catch(() => undefined);
  }

  stop(): void {
    for (const lane of [...this.lanes, this.closing]) lane.stop();
    const error = new StatusError(Code.UNAVAILABLE, "etcd-braid: the proxy is shutting down");
    for (const ending of this.endings.values()) this.tell(ending, error);
  }

  private wait(lease: bigint, ending: Ending): Promise<Ended> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        const outlook = hasParts(ending) ? "it will be completed" : "whether it took effect is unknown";
        const where = this.missing(lease, ending);
        const text = `${where}: no answer to the end of a lease within ${PATIENCE} ms; ${outlook}`;
        reject(new StatusError(Code.UNAVAILABLE, text));
      };
      const stopWaiting = this.runtime.timer(PATIENCE, giveUp);
      ending.waiters.push((error) => {
        stopWaiting();
        if (error === undefined) resolve({ found: ending.homeHadIt, revision: ending.revision });
        else reject(error);
      });
    });
  }

  /** Who has yet to answer. */
  private missing(lease: bigint, { homeGone, remaining }: Ending): string {
    const shards = homeGone ? [...remaining] : [this.homeOf(lease)];
    const names = shards.map((shard) => `shard "${this.shardNames[shard]}"`);
    return names.length > 0 ? names.join(", ") : "timeline host";
  }

  private extend(lease: bigint, ending: Ending, shards: readonly number[]): void {
    const home = this.homeOf(lease);
    for (const shard of shards) {
      if (shard === home) continue;
      ending.remaining.add(shard);
      if (ending.complete) this.lanes[shard].add(lease);
    }
  }

  private async revoke(lease: bigint, shard: number): Promise<void> {
    const ending = this.endings.get(lease);
    if (ending === undefined) return;
    if (shard === this.homeOf(lease)) {
      const retried = ending.tried;
      if (retried && (await this.isOver(lease, ending))) {
        await this.noteNewest(shard, ending);
        this.finish(lease, ending);
        return;
      }
      ending.tried = true;
      if (await this.revokePart(lease, shard, ending)) ending.homeHadIt = true;
      else if (retried) await this.noteNewest(shard, ending);
      ending.homeGone = true;
    } else {
      const counts = ending.complete;
      if (!(await this.revokePart(lease, shard, ending)) && counts) await this.noteNewest(shard, ending);
      if (!counts) return;
      ending.remaining.delete(shard);
    }
    if (ending.homeGone) this.closing.add(lease);
  }

  private async revokePart(lease: bigint, shard: number, ending: Ending): Promise<boolean> {
    const revision = await this.calls.revoke(shard, lease);
    ending.revision = Math.max(ending.revision, revision);
    return revision > 0;
  }

  /** For a part that something else has ended, or an earlier try whose answer was lost: when that was is not known. */
  private async noteNewest(shard: number, ending: Ending): Promise<void> {
    ending.revision = Math.max(ending.revision, await this.calls.newest(shard));
  }

  /** Goes on once the home is gone, and once a part is: completes what has to be done, and ends it when all is done. */
  private async close(lease: bigint): Promise<void> {
    const ending = this.endings.get(lease);
    if (ending === undefined) return;
    if (!ending.complete) {
      await this.timeline.sync();
      ending.complete = true;
      this.extend(lease, ending, [...ending.remaining, ...this.parts.shardsOf(lease)]);
    }
    if (ending.remaining.size > 0) return;
    if (this.parts.isPlaced(lease)) await this.timeline.unplace(lease);
    if (ending.remaining.size > 0) return;
    this.parts.forget(lease);
    this.ended++;
    this.finish(lease, ending);
  }

  private finish(lease: bigint, ending: Ending): void {
    this.endings.delete(lease);
    this.tell(ending);
  }

  /**
   * Whether somebody else has ended the lease meanwhile. Its id may have been granted again since, and what this
   * ending would still do to the home would be done to another lease.
   */
  private async isOver(lease: bigint, { placed }: Ending): Promise<boolean> {
    if (placed === undefined) return false;
    await this.timeline.sync();
    return this.parts.identify(lease) !== placed;
  }

  /** What a lane does with its failures. */
  private reporter(
    log: Pick<Logger, "warn">,
    where: string,
    shard?: number,
  ): (lease: bigint, reason: unknown) => void {
    let lastLog = Number.NEGATIVE_INFINITY;
    return (lease, reason) => {
      const error = StatusError.from(reason);
      const now = this.runtime.now();
      if (now - lastLog >= LOG_EVERY) {
        lastLog = now;
        const details = { where, lease: lease.toString(), error: withDetail(error), waiting: this.size };
        log.warn(details, "leases can not be ended yet");
      }
      this.failed(lease, shard, error);
    };
  }

  private failed(lease: bigint, shard: number | undefined, error: StatusError): void {
    const ending = this.endings.get(lease);
    if (ending === undefined) return;
    // The home can not be reached: what can be deleted elsewhere need not wait for it. It is done again later.
    if (shard !== undefined && shard === this.homeOf(lease)) {
      if (!hasParts(ending)) this.endings.delete(lease);
      for (const other of this.parts.shardsOf(lease)) if (other !== shard) this.lanes[other].add(lease);
    }
    this.tell(ending, error);
  }

  private tell(ending: Ending, error?: StatusError): void {
    const { waiters } = ending;
    ending.waiters = [];
    for (const waiter of waiters) waiter(error);
  }
}

/** True when more than the home may hang on an ending. */
function hasParts({ placed, remaining }: Ending): boolean {
  return placed !== undefined || remaining.size > 0;
}
