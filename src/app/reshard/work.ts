import { EtcdMoverShard } from "../../mover/etcdShard.js";
import type { MoverLog } from "../../mover/log.js";
import { Mover, type MoverDeps } from "../../mover/mover.js";
import { type MoverOptions, optionsWithin } from "../../mover/options.js";
import type { Logger } from "../../ops/log.js";
import {
  type Control,
  controlOf,
  decodeControl,
  decodeProgress,
  encodeProgress,
} from "../../reshard/record.js";
import type { Shard } from "../../shard/shard.js";
import type { ShardSet } from "../../shard/shardSet.js";
import type { Runtime } from "../../turn/runtime.js";
import { PlanProgress } from "./planProgress.js";
import type { Records, Seat } from "./seat.js";
import type { ReshardStats } from "./stats.js";

export interface WorkOptions {
  readonly timeline: MoverLog;
  readonly shards: Pick<ShardSet<Shard>, "at">;
  /** The key of gen; see `EtcdMoverShard`. */
  readonly genKey: Uint8Array;
  /** See `MoverDeps`. */
  readonly prepareHomes: MoverDeps["prepareHomes"];
  /** The limits of clients' requests, which all shards accept. */
  readonly limits: Pick<MoverOptions, "maxTxnOps" | "maxRequestBytes">;
  /** Names this proxy. */
  readonly proxy: string;
  readonly stats: ReshardStats;
  readonly runtime: Runtime;
  readonly log: Pick<Logger, "info" | "warn">;
}

/** How often the progress is written and the control is read, in milliseconds. */
const EXCHANGE_MS = 1_000;

/** One proxy's time as the mover: it moves keys, follows the operators' control, and records its progress. */
export class Work {
  private readonly mover: Mover;
  private readonly progress: PlanProgress;
  private control: Control | undefined;
  private isPaused = false;
  private maxKeysPerSecond: number | null = null;
  /** Why the control could not be read, as it was logged last. */
  private problem: string | undefined;
  /** The last record that was written, without its time. */
  private written = "";
  private exchanging: Promise<void> = Promise.resolve();
  private isExchanging = false;

  /** `seat` has just been taken, with these records. */
  constructor(
    private readonly options: WorkOptions,
    private readonly seat: Seat,
    { control, progress }: Records,
  ) {
    const { timeline, stats, runtime, log } = options;
    this.progress = new PlanProgress(options.proxy, decodeProgress(progress).record);
    const shards = new Map<Shard, EtcdMoverShard>();
    this.mover = new Mover({
      log: timeline,
      shardOf: (index) => {
        const shard = options.shards.at(index);
        let known = shards.get(shard);
        if (known === undefined) {
          known = new EtcdMoverShard({ shard, genKey: options.genKey, runtime, log });
          shards.set(shard, known);
        }
        return known;
      },
      options: optionsWithin(options.limits),
      prepareHomes: options.prepareHomes,
      runtime,
      logger: log,
      moved: (step) => {
        stats.moved(step);
        this.progress.moved(step);
      },
    });
    this.readControl(control);
    seat.onLost = () => {
      log.warn({}, "the mover's lease has ended: another proxy may move keys now");
      this.mover.stop();
    };
  }

  /**
   * Moves keys until the plan is done, the seat is lost, another proxy has taken over, or `stop` was called. Rejects if the
   * mover's claim fails.
   */
  async run(): Promise<void> {
    const { stats, runtime } = this.options;
    stats.begin();
    const stopTicking = runtime.interval(EXCHANGE_MS, () => this.tick(), true);
    try {
      await this.mover.run();
    } finally {
      stopTicking();
      stats.end();
      await this.exchanging;
      if (!this.seat.isLost) await this.exchange();
    }
  }

  /** Makes `run` return soon. A step that is frozen is moved or thawed first. */
  stop(): void {
    this.mover.stop();
  }

  /** To be called when the placement has changed: the control may be about the plan that was turned back. */
  follow(): void {
    const { plan } = this.options.timeline.placement;
    if (plan === undefined) return;
    const { log } = this.options;
    const { paused, maxKeysPerSecond } = controlOf(this.control, plan.number);
    if (maxKeysPerSecond !== this.maxKeysPerSecond) {
      this.maxKeysPerSecond = maxKeysPerSecond;
      this.mover.maxKeysPerSecond = maxKeysPerSecond ?? Number.POSITIVE_INFINITY;
      log.info({ plan: plan.number, maxKeysPerSecond }, "the limit of keys per second has changed");
    }
    if (paused === this.isPaused) return;
    this.isPaused = paused;
    if (paused) this.mover.pause();
    else this.mover.resume();
    log.info({ plan: plan.number }, paused ? "the plan is paused" : "the plan is resumed");
  }

  private readControl(value: Uint8Array | undefined): void {
    const { record, problem } = decodeControl(value);
    if (problem !== undefined && problem !== this.problem)
      this.options.log.warn({ error: problem }, "the plan's control cannot be read and counts as absent");
    this.problem = problem;
    this.control = record;
    this.follow();
  }

  private tick(): void {
    this.options.stats.isWaiting = this.mover.progress.waiting !== undefined;
    if (this.isExchanging || this.seat.isLost) return;
    this.isExchanging = true;
    this.exchanging = this.exchange().finally(() => {
      this.isExchanging = false;
    });
  }

  /** Writes the progress if it has changed, and reads the control. Never rejects. */
  private async exchange(): Promise<void> {
    const { progress } = this.mover;
    // Before the claim there is nothing to write.
    if (progress.plan === 0) return;
    const record = this.progress.record(progress, this.options.runtime.date());
    const text = JSON.stringify({ ...record, at: 0 });
    const isNew = text !== this.written;
    try {
      const { control } = await this.seat.exchange(isNew ? encodeProgress(record) : undefined);
      this.written = text;
      this.readControl(control);
    } catch {
      // The next exchange makes up for it. If the host stays away, the lease ends.
    }
  }
}
