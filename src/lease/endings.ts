import { describeShard } from "../shard/name.js";
import type { ShardSet } from "../shard/shardSet.js";
import { Code, StatusError, withDetail } from "../status/error.js";
import type { LeaseDeps } from "./deps.js";
import { Lane } from "./lane.js";

/** How long a caller waits for the end of a lease. The ending continues after that. */
const END_TIMEOUT_MS = 5_000;
/** Revocations under way at one shard. Each waits for its seal. Those that wait together share an append to the log. */
const LANE = { width: 64, retryMs: 500 };
/** A place where leases cannot be ended is logged at most once in this interval. */
const LOG_INTERVAL_MS = 10_000;

interface Ending {
  /** The lease's home in this round. */
  home: number;
  /** Position of the newest change of the placement when this round began. */
  position: number;
  /** True if this round has found a part. */
  foundPart: boolean;
  /** Identifies the lease as it was placed when the ending began (`Parts.identify`). Undefined if it was not placed. */
  readonly placed: object | undefined;
  /** Shards other than the home whose part remains to be revoked in this round. */
  readonly remaining: Set<number>;
  /** True if a revocation was sent to a home before. */
  tried: boolean;
  /** True once the home of this round does not have the lease. */
  homeGone: boolean;
  /** True if this ending found the lease at its home. */
  homeHadIt: boolean;
  /** Newest revision at which a part was found and revoked; 0 if none was. */
  revision: number;
  /** True once `remaining` has all shards that the log listed after the home was gone. */
  complete: boolean;
  waiters: ((error?: StatusError) => void)[];
}

/** How a lease ended. */
export interface Ended {
  /** True if this ending found the lease alive at its home. */
  readonly found: boolean;
  /** The revision of the last deletion; during a plan, that one or a later one. Not a new revision if the lease had no keys. */
  readonly revision: number;
}

/**
 * Ends leases: revokes the home, then the parts on all other shards, seals the deletions, and removes the lease from the
 * timeline. An ending survives outages of shards and of the timeline host, and several proxies may end the same lease at
 * the same time. If a lease has no placements and its home cannot be reached, the ending is given up, as with a single
 * etcd: the lease has no other parts, and its client may revoke it through another proxy.
 *
 * During a plan, the mover may grant a part again between the revocations of two others. So an ending repeats: it revokes all
 * parts, waits while a step is frozen, and is done when a round has found no part. While a step is frozen, it is not known yet
 * at which revision its keys end.
 *
 * The order matters: the home is revoked, then the log is read, then the parts are revoked. A proxy that places a part
 * logs it, grants it and then checks the home. If it still finds the home, the log that is read here has the part. If it
 * does not, it ends the lease itself. In any other order a part could be missed.
 */
export class Endings {
  /** Number of leases whose last part is gone, since the start. */
  ended = 0;
  private readonly endings = new Map<bigint, Ending>();
  private readonly lanes: ShardSet<Lane>;
  private readonly closing: Lane;

  constructor(private readonly deps: LeaseDeps) {
    const { runtime } = deps;
    this.lanes = deps.shards.map((each, shard) => {
      const failed = this.reporter(describeShard(each), shard);
      return new Lane({ ...LANE, runtime, run: (lease) => this.revoke(lease, shard), failed });
    });
    const failed = this.reporter("timeline");
    this.closing = new Lane({ ...LANE, runtime, run: (lease) => this.close(lease), failed });
  }

  /** Number of endings under way. */
  get size(): number {
    return this.endings.size;
  }

  /** True while the lease is being ended, until its last part is gone. */
  isEnding(lease: bigint): boolean {
    return this.endings.has(lease);
  }

  /**
   * Ends a lease, or joins the ending under way. Resolves when all parts are gone and their deletions sealed. Rejects with
   * UNAVAILABLE if a part cannot be reached; the ending continues. `more` are shards that may have a part that the timeline
   * does not list.
   */
  end(lease: bigint, more: readonly number[] = []): Promise<Ended> {
    let ending = this.endings.get(lease);
    const isNew = ending === undefined;
    if (ending === undefined) {
      const placed = this.deps.parts.identify(lease);
      const { home, position } = this.whereNow(lease);
      const initial = { tried: false, homeGone: false, homeHadIt: false, revision: 0, complete: false };
      const round = { home, position, foundPart: false, remaining: new Set<number>() };
      ending = { placed, ...round, ...initial, waiters: [] };
      this.endings.set(lease, ending);
    }
    const done = this.wait(ending);
    this.extend(lease, ending, more);
    if (isNew) this.lane(ending.home).add(lease);
    return done;
  }

  /** Like `end`, for callers that do not wait. Errors are logged. */
  endInBackground(lease: bigint, more: readonly number[] = []): void {
    this.end(lease, more).catch(() => undefined);
  }

  /** Stops all endings. Callers that wait get UNAVAILABLE. */
  stop(): void {
    for (const lane of [...this.lanes.all(), this.closing]) lane.stop();
    const error = new StatusError(Code.UNAVAILABLE, "etcd-braid: the proxy is shutting down");
    for (const ending of this.endings.values()) this.settle(ending, error);
  }

  private wait(ending: Ending): Promise<Ended> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        const outcome = hasParts(ending) ? "it will be completed" : "whether it took effect is unknown";
        const where = this.pending(ending);
        const text = `${where}: no response to the revocation of a lease within ${END_TIMEOUT_MS} ms; ${outcome}`;
        reject(new StatusError(Code.UNAVAILABLE, text));
      };
      const stopWaiting = this.deps.runtime.timer(END_TIMEOUT_MS, giveUp);
      ending.waiters.push((error) => {
        stopWaiting();
        if (error === undefined) resolve({ found: ending.homeHadIt, revision: ending.revision });
        else reject(error);
      });
    });
  }

  /** Names what the ending waits for. */
  private pending({ home, homeGone, remaining }: Ending): string {
    const shards = homeGone ? [...remaining] : [home];
    const names = shards.map((shard) => describeShard(this.deps.shards.at(shard)));
    if (names.length === 0 && this.isFrozen) return "keys of the lease may be moving to another shard";
    return names.length > 0 ? names.join(", ") : "timeline host";
  }

  private extend(lease: bigint, ending: Ending, shards: readonly number[]): void {
    for (const shard of shards) {
      if (shard === ending.home) continue;
      ending.remaining.add(shard);
      if (ending.complete) this.lane(shard).add(lease);
    }
  }

  private async revoke(lease: bigint, shard: number): Promise<void> {
    const ending = this.endings.get(lease);
    if (ending === undefined) return;
    if (shard === ending.home) {
      const retried = ending.tried;
      if (retried && (await this.isOver(lease, shard, ending))) {
        this.finish(lease, ending);
        return;
      }
      ending.tried = true;
      if (!(await this.revokePart(lease, shard, ending)) && retried) await this.noteNewest(shard, ending);
      ending.homeGone = true;
    } else {
      const counts = ending.complete;
      // The home could not be reached. It is tried again, and finishes then.
      if (!counts && (await this.isOver(lease, shard, ending))) return;
      if (!(await this.revokePart(lease, shard, ending)) && counts) await this.noteNewest(shard, ending);
      if (!counts) return;
      ending.remaining.delete(shard);
    }
    if (ending.homeGone) this.closing.add(lease);
  }

  private async revokePart(lease: bigint, shard: number, ending: Ending): Promise<boolean> {
    if (!this.deps.homes.isInUse(shard)) return false;
    const revision = await this.deps.calls.revoke(shard, lease);
    if (revision > 0) {
      ending.foundPart = true;
      if (shard === this.deps.homes.of(lease)) ending.homeHadIt = true;
    }
    ending.revision = Math.max(ending.revision, revision);
    return revision > 0;
  }

  /** For a part that another client ended, or an earlier attempt whose response was lost. Its revision is not known. */
  private async noteNewest(shard: number, ending: Ending): Promise<void> {
    if (!this.deps.homes.isInUse(shard)) return;
    ending.revision = Math.max(ending.revision, await this.deps.calls.newest(shard));
  }

  /** Called once the home is gone, and after each part. Collects the remaining shards, and finishes when none is left. */
  private async close(lease: bigint): Promise<void> {
    const ending = this.endings.get(lease);
    if (ending === undefined) return;
    if (!ending.complete) {
      await this.deps.timeline.sync();
      this.noteEndedElsewhere(lease, ending);
      ending.complete = true;
      this.extend(lease, ending, [...ending.remaining, ...this.deps.parts.shardsOf(lease)]);
    }
    if (ending.remaining.size > 0) return;
    if (await this.needsRound(lease, ending)) {
      Object.assign(ending, this.whereNow(lease), { homeGone: false, complete: false, foundPart: false });
      this.lane(ending.home).add(lease);
      return;
    }
    if (this.deps.parts.isPlaced(lease)) await this.deps.timeline.unplace(lease);
    if (ending.remaining.size > 0) return;
    this.deps.parts.forget(lease);
    this.ended++;
    this.finish(lease, ending);
  }

  /** True if parts may be left, because keys are moving. Waits while a step is frozen. */
  private async needsRound(lease: bigint, ending: Ending): Promise<boolean> {
    const { timeline, homes, parts } = this.deps;
    if (timeline.placement.plan === undefined && homes.position === ending.position) return false;
    let waited = false;
    for (; this.isFrozen; waited = true) {
      await this.whenThawed();
      await timeline.sync();
    }
    // The revision of a deletion in a frozen step is that of the move.
    ending.revision = Math.max(ending.revision, timeline.head);
    if (homes.of(lease) !== ending.home) return true;
    // The mover logs a part before it grants it. So a lease that is not placed had only its home.
    return parts.isPlaced(lease) && (waited || ending.foundPart);
  }

  private get isFrozen(): boolean {
    return this.deps.timeline.placement.plan?.frozen !== undefined;
  }

  private whenThawed(): Promise<void> {
    return new Promise((resolve) => {
      const stopListening = this.deps.timeline.onAdvance(() => {
        if (this.isFrozen) return;
        stopListening();
        resolve();
      });
    });
  }

  private whereNow(lease: bigint): { home: number; position: number } {
    return { home: this.deps.homes.of(lease), position: this.deps.homes.position };
  }

  private finish(lease: bigint, ending: Ending): void {
    this.endings.delete(lease);
    this.settle(ending);
  }

  /**
   * True if another proxy has ended the lease in the meantime. Its id may have been granted again, and then a revocation
   * would end another lease. Connects to the shard first, so that the revocation does not wait for that after the check.
   */
  private async isOver(lease: bigint, shard: number, ending: Ending): Promise<boolean> {
    if (ending.placed === undefined) return false;
    await this.deps.calls.look(shard, lease);
    await this.deps.timeline.sync();
    return this.noteEndedElsewhere(lease, ending);
  }

  /**
   * Returns whether the lease is not placed any more as it was. Then another proxy has ended it, and all its deletions are sealed.
   * Their revisions are not known here, so the head counts.
   */
  private noteEndedElsewhere(lease: bigint, ending: Ending): boolean {
    const { parts, timeline } = this.deps;
    if (ending.placed === undefined || parts.identify(lease) === ending.placed) return false;
    ending.revision = Math.max(ending.revision, timeline.head);
    return true;
  }

  /** Returns a lane's handler of failures. */
  private reporter(where: string, shard?: number): (lease: bigint, reason: unknown) => void {
    let lastLog = Number.NEGATIVE_INFINITY;
    return (lease, reason) => {
      const error = StatusError.from(reason);
      const now = this.deps.runtime.now();
      if (now - lastLog >= LOG_INTERVAL_MS) {
        lastLog = now;
        const details = { where, lease: lease.toString(), error: withDetail(error), waiting: this.size };
        this.deps.log.warn(details, "leases can not be ended yet");
      }
      this.failed(lease, shard, error);
    };
  }

  private failed(lease: bigint, shard: number | undefined, error: StatusError): void {
    const ending = this.endings.get(lease);
    if (ending === undefined) return;
    // The home cannot be reached. Parts on other shards need not wait for it; they are revoked again later.
    if (shard !== undefined && shard === ending.home) {
      if (!hasParts(ending)) this.endings.delete(lease);
      for (const other of this.deps.parts.shardsOf(lease)) if (other !== shard) this.lane(other).add(lease);
    }
    this.settle(ending, error);
  }

  private settle(ending: Ending, error?: StatusError): void {
    const { waiters } = ending;
    ending.waiters = [];
    for (const waiter of waiters) waiter(error);
  }

  private lane(shard: number): Lane {
    return this.lanes.at(shard);
  }
}

/** True if the lease may have parts other than its home. */
function hasParts({ placed, remaining }: Ending): boolean {
  return placed !== undefined || remaining.size > 0;
}
