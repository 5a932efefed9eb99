import type { Shard } from "../shard/shard.js";
import type { ShardSet } from "../shard/shardSet.js";
import { StatusError, withDetail } from "../status/error.js";
import type { LeaseDeps } from "./deps.js";
import type { Endings } from "./endings.js";
import type { Placing } from "./placing.js";

/** Least pause between two sweeps of a shard. A random amount of up to as much again is added. */
const SWEEP_PAUSE_MS = 400;
/** If a shard has not been swept for this long, it could have gained and lost a part unnoticed. */
const BLIND_AFTER_MS = 1_900;
/** Time limit of each call of a sweep. */
const SWEEP_TIMEOUT_MS = 3_000;
/** A list of a shard's leases costs as much as one query, and one more for each of this many leases listed. */
const LISTED_PER_QUERY = 500;
const MAX_CONCURRENT_QUERIES = 64;
/** A shard that cannot be swept is logged at most once in this interval. */
const LOG_INTERVAL_MS = 10_000;

/**
 * Finds placed leases that have lost a part, and ends them on all shards. Each proxy sweeps every shard continuously. The
 * lost part may have expired, may have been revoked past the proxies, or its proxy may have died while it ended the lease.
 * A sweep needs only the timeline's placements.
 *
 * A sweep lists the shard's leases, or queries each part if that costs less. So its cost does not depend on TTLs, and
 * little on the number of leases. Each shard has a separate sweep, so one that is down does not delay the others.
 */
export class Reaper {
  private readonly sweeps: ShardSet<Sweep>;
  private readonly unsubscribe: () => void;

  constructor(
    private readonly deps: LeaseDeps,
    private readonly placing: Placing,
    endings: Endings,
  ) {
    this.sweeps = deps.shards.map(
      (each, shard) => new Sweep(deps, placing, endings, shard, each, () => this.restoreVanished()),
      (sweep) => sweep.stop(),
    );
    this.unsubscribe = deps.timeline.onAdvance(() => this.wake());
    this.wake();
  }

  /** Starts no further sweep. */
  stop(): void {
    this.unsubscribe();
    for (const sweep of this.sweeps.all()) sweep.stop();
  }

  private wake(): void {
    if (this.deps.parts.size === 0) return;
    for (const sweep of this.sweeps.all()) sweep.wake();
  }

  private restoreVanished(): void {
    for (const { lease, shards } of this.deps.parts.refresh()) void this.placing.restore(lease, shards);
  }
}

/** Sweeps one shard over and over while there are placed leases. */
class Sweep {
  private stopTimer: (() => void) | undefined;
  private busy = false;
  private stopped = false;
  /** Number of leases that the shard listed last, placed or not. */
  private listed = 0;
  private lastLook = Number.NEGATIVE_INFINITY;
  private lastLog = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly deps: LeaseDeps,
    private readonly placing: Placing,
    private readonly endings: Endings,
    private readonly index: number,
    private readonly shard: Pick<Shard, "name">,
    private readonly beforeSweep: () => void,
  ) {}

  wake(): void {
    if (this.stopTimer !== undefined || this.busy || this.stopped) return;
    this.lastLook = this.deps.runtime.now(); // nothing was placed before, so nothing was missed
    this.schedule();
  }

  stop(): void {
    this.stopped = true;
    this.stopTimer?.();
  }

  private schedule(): void {
    const { runtime } = this.deps;
    this.stopTimer = runtime.timer(SWEEP_PAUSE_MS * (1 + runtime.random()), () => void this.run());
  }

  private async run(): Promise<void> {
    this.stopTimer = undefined;
    this.busy = true;
    this.beforeSweep();
    try {
      const begin = this.deps.runtime.now();
      if (begin - this.lastLook > BLIND_AFTER_MS) this.deps.parts.blind(this.index);
      const missing = await this.look(this.deps.parts.on(this.index));
      this.lastLook = begin;
      await this.judge(missing);
    } catch (error) {
      this.failed(StatusError.from(error));
    }
    this.busy = false;
    if (!this.stopped && this.deps.parts.size > 0) this.schedule();
  }

  /** Returns those of these leases that seem to have no part on the shard. */
  private async look(leases: readonly bigint[]): Promise<bigint[]> {
    if (leases.length === 0) return [];
    if (leases.length <= 1 + this.listed / LISTED_PER_QUERY) return this.query(leases);
    const listed = await this.deps.calls.list(this.index, { deadline: this.deadline });
    this.listed = listed.length;
    const present = new Set(listed);
    return leases.filter((lease) => {
      if (!present.has(lease)) return true;
      this.deps.parts.sawAlive(lease, this.index);
      return false;
    });
  }

  /** Returns those of these leases that have no part on the shard, according to its leader. */
  private async query(leases: readonly bigint[]): Promise<bigint[]> {
    const missing: bigint[] = [];
    await this.forEach(leases, async (lease) => {
      const part = await this.deps.calls.look(this.index, lease, false, {
        deadline: this.deadline,
      });
      if (part === undefined) missing.push(lease);
      else this.deps.parts.sawAlive(lease, this.index);
    });
    return missing;
  }

  /**
   * Decides about leases that seem to lack their part. Most of them were just ended by a client, a member's list may lag,
   * and an id may have been granted again. So a part counts as missing only if the leader confirms it and the end of the
   * log still places the lease. Acts on each response at once, because responses grow stale while others are awaited.
   */
  private async judge(seemMissing: readonly bigint[]): Promise<void> {
    if (seemMissing.length === 0) return;
    await this.deps.timeline.sync();
    await this.forEach(seemMissing, async (lease) => {
      if (!this.concerns(lease)) return;
      const finding = await this.placing.examine(lease, this.index, this.deadline);
      if (finding === "there" || !this.concerns(lease)) return;
      this.placing.act(lease, this.index, finding).catch((error) => this.failed(StatusError.from(error)));
    });
  }

  /** Calls `act` for each lease, for a bounded number at a time. Rejects with the first rejection. */
  private async forEach(leases: readonly bigint[], act: (lease: bigint) => Promise<void>): Promise<void> {
    const queue = leases.values();
    const worker = async () => {
      for (const lease of queue) await act(lease);
    };
    const workers = Math.min(MAX_CONCURRENT_QUERIES, leases.length);
    await Promise.all(Array.from({ length: workers }, worker));
  }

  /** Deadline of a call that begins now, in milliseconds since the epoch. */
  private get deadline(): number {
    return this.deps.runtime.date() + SWEEP_TIMEOUT_MS;
  }

  private concerns(lease: bigint): boolean {
    return (
      this.deps.parts.isPlaced(lease) &&
      this.deps.parts.has(lease, this.index) &&
      !this.endings.isEnding(lease)
    );
  }

  private failed(error: StatusError): void {
    const now = this.deps.runtime.now();
    if (this.stopped || now - this.lastLog < LOG_INTERVAL_MS) return;
    this.lastLog = now;
    this.deps.log.warn({ shard: this.shard.name }, `placed leases cannot be checked: ${withDetail(error)}`);
  }
}
