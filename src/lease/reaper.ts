import type { Logger } from "../ops/log.js";
import { StatusError, withDetail } from "../status/error.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import type { LeaseCalls } from "./calls.js";
import type { Endings } from "./ending.js";
import type { Parts } from "./parts.js";
import type { Placing } from "./placing.js";

/** Pause between two sweeps of a shard, ms: at least this, and by chance up to twice this. */
const SWEEP_PAUSE = 400;
/** A shard that has not been looked at for this long could have gained and lost a part unnoticed, ms. */
const BLIND_AFTER = 1_900;
/** Deadline of one sweep's calls, ms. */
const SWEEP_TIMEOUT = 3_000;
/** A listing of a shard's leases costs as much as one question, and one more for every so many leases listed. */
const LISTED_PER_QUESTION = 500;
const QUESTIONS_AT_ONCE = 64;
/** At most one log line about a shard that can not be swept in this time, ms. */
const LOG_EVERY = 10_000;

/**
 * Watches over the placed leases: each proxy looks at every shard all the time and asks which parts are there.
 * A part that is missing ends its lease everywhere, whatever became of it: expired, revoked past the proxy, or
 * left over by a proxy that died while it ended the lease. Nothing but the timeline's placements is needed.
 *
 * A sweep is one listing of the shard's leases, or a question for each part where that costs less; so the cost
 * does not grow with the TTLs, and hardly with the number of leases. Every shard is swept on its own: one that
 * is down delays no other.
 */
export class Reaper {
  private readonly sweeps: Sweep[];
  private readonly unsubscribe: () => void;

  constructor(
    calls: LeaseCalls,
    private readonly parts: Parts,
    placing: Placing,
    endings: Endings,
    timeline: Timeline,
    log: Pick<Logger, "warn">,
    shardNames: readonly string[],
    runtime: Runtime,
  ) {
    this.sweeps = shardNames.map(
      (name, shard) =>
        new Sweep(calls, parts, placing, endings, timeline, log, runtime, shard, name, () =>
          this.follow(placing),
        ),
    );
    this.unsubscribe = timeline.onAdvance(() => this.wake());
    this.wake();
  }

  stop(): void {
    this.unsubscribe();
    for (const sweep of this.sweeps) sweep.stop();
  }

  private wake(): void {
    if (this.parts.size === 0) return;
    for (const sweep of this.sweeps) sweep.wake();
  }

  private follow(placing: Placing): void {
    for (const { lease, shards } of this.parts.refresh()) void placing.restore(lease, shards);
  }
}

/** The sweeps of one shard, one after the other, as long as there are placed leases. */
class Sweep {
  private stopTimer: (() => void) | undefined;
  private busy = false;
  private stopped = false;
  /** Leases that the shard listed last, all of them, placed or not. */
  private listed = 0;
  private lastLook = Number.NEGATIVE_INFINITY;
  private lastLog = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly calls: LeaseCalls,
    private readonly parts: Parts,
    private readonly placing: Placing,
    private readonly endings: Endings,
    private readonly timeline: Timeline,
    private readonly log: Pick<Logger, "warn">,
    private readonly runtime: Runtime,
    private readonly shard: number,
    private readonly name: string,
    private readonly refresh: () => void,
  ) {}

  wake(): void {
    if (this.stopTimer !== undefined || this.busy || this.stopped) return;
    this.lastLook = this.runtime.now(); // nothing was placed until now, so nothing was missed
    this.schedule();
  }

  stop(): void {
    this.stopped = true;
    this.stopTimer?.();
  }

  private schedule(): void {
    const { runtime } = this;
    this.stopTimer = runtime.timer(SWEEP_PAUSE * (1 + runtime.random()), () => void this.run());
  }

  private async run(): Promise<void> {
    this.stopTimer = undefined;
    this.busy = true;
    this.refresh();
    try {
      const begin = this.runtime.now();
      if (begin - this.lastLook > BLIND_AFTER) this.parts.blind(this.shard);
      const missing = await this.look(this.parts.on(this.shard));
      this.lastLook = begin;
      await this.judge(missing);
    } catch (error) {
      this.failed(StatusError.from(error));
    }
    this.busy = false;
    if (!this.stopped && this.parts.size > 0) this.schedule();
  }

  /** Which of these leases seem to have no part on the shard. */
  private async look(leases: readonly bigint[]): Promise<bigint[]> {
    if (leases.length === 0) return [];
    if (leases.length <= 1 + this.listed / LISTED_PER_QUESTION) return this.ask(leases);
    const listed = await this.calls.list(this.shard, { deadline: this.deadline });
    this.listed = listed.length;
    const there = new Set(listed);
    return leases.filter((lease) => {
      if (!there.has(lease)) return true;
      this.parts.sawAlive(lease, this.shard);
      return false;
    });
  }

  /** Which of these leases have no part on the shard: its leader's word. */
  private async ask(leases: readonly bigint[]): Promise<bigint[]> {
    const missing: bigint[] = [];
    await this.forEach(leases, async (lease) => {
      const part = await this.calls.look(this.shard, lease, false, {
        deadline: this.deadline,
      });
      if (part === undefined) missing.push(lease);
      else this.parts.sawAlive(lease, this.shard);
    });
    return missing;
  }

  /**
   * Most of what is missing has just been ended by somebody, a member's list may lag behind, and an id may have
   * come back: only what is missing by the leader's word and still placed by the log's end counts. Each is judged as
   * soon as the leader has answered: when all have, the answers are old.
   */
  private async judge(seemMissing: readonly bigint[]): Promise<void> {
    if (seemMissing.length === 0) return;
    await this.timeline.sync();
    await this.forEach(seemMissing, async (lease) => {
      if (!this.concerns(lease)) return;
      const finding = await this.placing.examine(lease, this.shard, this.deadline);
      if (finding === "there" || !this.concerns(lease)) return;
      this.placing.act(lease, this.shard, finding).catch((error) => this.failed(StatusError.from(error)));
    });
  }

  /** Some at a time; rejects with the first rejection. */
  private async forEach(leases: readonly bigint[], act: (lease: bigint) => Promise<void>): Promise<void> {
    const queue = leases.values();
    const worker = async () => {
      for (const lease of queue) await act(lease);
    };
    const workers = Math.min(QUESTIONS_AT_ONCE, leases.length);
    await Promise.all(Array.from({ length: workers }, worker));
  }

  /** Of a call that begins now, ms since the epoch. */
  private get deadline(): number {
    return this.runtime.date() + SWEEP_TIMEOUT;
  }

  private concerns(lease: bigint): boolean {
    return this.parts.isPlaced(lease) && this.parts.has(lease, this.shard) && !this.endings.isEnding(lease);
  }

  private failed(error: StatusError): void {
    const now = this.runtime.now();
    if (this.stopped || now - this.lastLog < LOG_EVERY) return;
    this.lastLog = now;
    this.log.warn({ shard: this.name }, `placed leases can not be looked after: ${withDetail(error)}`);
  }
}
