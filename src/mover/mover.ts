import type { Logger } from "../ops/log.js";
import { type Bound, compareBounds, START } from "../reshard/bound.js";
import type { Plan } from "../reshard/placement.js";
import { printable } from "../routing/bytes.js";
import { keyAfter } from "../shard/rangeReader.js";
import { withDetail } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";
import type { StepDeps } from "./copying.js";
import { type Doomed, deleteKeys } from "./deleting.js";
import { Flow } from "./flow.js";
import { GivenUp } from "./givenUp.js";
import type { MoverLog } from "./log.js";
import type { MoverOptions } from "./options.js";
import { Pace } from "./pace.js";
import { type MutableProgress, newProgress, type Progress } from "./progress.js";
import { isCompacted, isUnreachable, MoverError, type MoverShard } from "./shard.js";
import { isExpected, Step } from "./step.js";
import { type NextStep, Survey } from "./survey.js";

/** A step that has moved. */
export interface MovedStep {
  /** Number of the plan. */
  readonly plan: number;
  readonly keys: number;
  /** Bytes of the keys and their values. */
  readonly bytes: number;
  readonly keysPerSecond: number;
  /** How long calls to the step waited, in milliseconds. */
  readonly pauseMs: number;
}

export interface MoverDeps {
  readonly log: MoverLog;
  /** The shard with this index in the store. */
  readonly shardOf: (index: number) => MoverShard;
  /**
   * Gives leases the homes that they have after the plan. Called before the first step and before the end of the plan. The
   * shards in `lost` cannot be asked.
   */
  readonly prepareHomes: (plan: Plan, lost: ReadonlySet<number>) => Promise<void>;
  readonly options: MoverOptions;
  readonly runtime: Pick<Runtime, "now" | "timer" | "later" | "random">;
  readonly logger: Pick<Logger, "info" | "warn">;
  /** Called after each step that has moved. */
  readonly moved?: (step: MovedStep) => void;
}

/** Shortest and longest pause after a failed attempt in milliseconds, before jitter. */
const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** A shard that leaves the store counts as lost when it has not answered for so many milliseconds. */
const LOST_MS = 30_000;

/**
 * Carries out the plan of a store, step by step. Several proxies may run movers; the newest claim wins, and the others end.
 * It may die at any point; the next one continues.
 */
export class Mover {
  private readonly state: MutableProgress = newProgress();
  private readonly pace: Pace;
  private readonly flow: Flow;
  private readonly survey: Survey;
  /** The position of the claim, which is the mover's name. */
  protected name = 0;
  private isStopping = false;
  private isPaused = false;
  private failures = 0;
  /** True since a step failed because a shard was compacted: from then on, steps begin with what is read at their begin. */
  private isRereading = false;
  /** Shard that leaves the store → since when it does not answer, on the runtime's clock. */
  private readonly silent = new Map<number, number>();
  /** Number of the plan whose homes of leases were prepared. */
  private prepared = 0;
  private wake = () => {};

  constructor(protected readonly deps: MoverDeps) {
    this.pace = new Pace(deps.runtime);
    this.flow = new Flow(deps.options.keysInFlight);
    this.survey = new Survey(deps.log, deps.shardOf, deps.options);
  }

  get progress(): Progress {
    return this.state;
  }

  /** Limits how many keys move per second. Infinity: no limit. The freeze and the changes of clients are not limited. */
  set maxKeysPerSecond(keys: number) {
    this.pace.keysPerSecond = keys;
  }

  /** Begins no further step until `resume`. A step that is under way is finished. */
  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.wake();
  }

  /** Makes `run` return soon: at once between steps and while copying, and after the move while a step is frozen. */
  stop(): void {
    this.isStopping = true;
    this.pace.release();
    this.wake();
  }

  /**
   * Claims the plan and works until it is done, another mover claims it, or `stop` was called. Failures are logged and shown
   * in `progress`, and the work is tried again. Rejects only if the claim fails.
   */
  async run(): Promise<void> {
    const { log } = this.deps;
    const name = await log.proposeChange({ kind: "claim" });
    if (name === undefined) throw new RangeError("a claim is always valid");
    this.name = name;
    while (!this.isStopping) {
      const { plan, mover } = log.placement;
      if (plan === undefined || mover !== this.name) break;
      this.state.plan = plan.number;
      try {
        await this.advance(plan);
        this.failures = 0;
        if (!this.isPaused) this.state.waiting = undefined;
      } catch (error) {
        if (!isExpected(error)) throw error;
        await this.recover(error);
      }
    }
    this.state.phase = "idle";
  }

  private async advance(plan: Plan): Promise<void> {
    if (plan.frozen !== undefined) {
      await this.thaw(plan.frozen.position);
    } else if (this.isPaused) {
      this.state.phase = "idle";
      this.state.waiting = "paused";
      // Nobody looks at them meanwhile.
      this.silent.clear();
      await this.sleep(Number.POSITIVE_INFINITY);
    } else if (this.prepared !== plan.number) {
      this.state.phase = "choose";
      await this.deps.prepareHomes(plan, await this.lostShards(plan));
      this.prepared = plan.number;
    } else if (isSwept(plan)) {
      this.state.phase = "finish";
      await this.finish(plan);
    } else {
      await this.move(plan);
    }
  }

  private async move(plan: Plan): Promise<void> {
    const { runtime, logger } = this.deps;
    const { state } = this;
    state.phase = "choose";
    const next = await this.survey.next(plan, !this.isRereading);
    const since = runtime.now();
    const { keys, bytes } = state;
    const isStopping = () => this.isStopping;
    const deps = { ...this.deps, pace: this.pace, flow: this.flow, progress: state, isStopping };
    const step = this.createStep(deps, plan, next);
    try {
      await step.run();
    } catch (error) {
      state.keys = keys;
      state.bytes = bytes;
      throw error;
    } finally {
      state.step = undefined;
    }
    const seconds = (runtime.now() - since) / 1_000;
    state.steps++;
    state.keysPerSecond = seconds > 0 ? state.stepKeys / seconds : 0;
    state.longestPauseMs = Math.max(state.longestPauseMs, state.lastPauseMs);
    const moved: MovedStep = {
      plan: plan.number,
      keys: state.stepKeys,
      bytes: state.bytes - bytes,
      keysPerSecond: state.keysPerSecond,
      pauseMs: state.lastPauseMs,
    };
    logger.info(
      {
        ...moved,
        to: boundName(next.end),
        keysPerSecond: Math.round(moved.keysPerSecond),
        pauseMs: Math.round(moved.pauseMs),
      },
      "keys moved to other shards",
    );
    this.deps.moved?.(moved);
    await step.clean();
  }

  /** Overridden by the simulation, to disturb steps and to remove rules. */
  protected createStep(deps: StepDeps, plan: Plan, { end, read }: NextStep): Step {
    return new Step(deps, this.name, plan, end, read);
  }

  private async thaw(freeze: number): Promise<void> {
    await this.deps.log.proposeChange({ kind: "thaw", mover: this.name, freeze });
  }

  /** Deletes from every shard the keys that it does not hold, then ends the plan. */
  private async finish(active: Plan): Promise<void> {
    const { log, logger, prepareHomes } = this.deps;
    const { number } = active;
    const lost = await this.lostShards(active);
    await prepareHomes(active, lost);
    const position = await log.proposeChange({ kind: "begin", mover: this.name });
    const { mover, plan } = log.placement;
    if (position === undefined || mover !== this.name || plan?.number !== number) return;
    // Sealed with the end of the plan: from there on no shard holds keys of others, so that reads need not look for them.
    const cleaned = new Map<number, number>();
    for (const index of this.shardsOf(plan.below, plan.above)) {
      if (!lost.has(index)) cleaned.set(index, await this.removeForeign(index, position));
    }
    await log.proposeChange({ kind: "done", plan: number }, cleaned);
    logger.info({ plan: number }, "the plan is done");
  }

  /** Shards on which these maps may place keys. Other shards of the store hold none: they have left it, or no map has used them yet. */
  private shardsOf(...maps: readonly string[]): ReadonlySet<number> {
    const { locator } = this.deps.log;
    return new Set(maps.flatMap((map) => locator.shardsBetween(map, START, null)));
  }

  /** Deletes the keys that the shard does not hold. Resolves to the shard's revision after that. */
  private async removeForeign(index: number, position: number): Promise<number> {
    const { log, options, shardOf } = this.deps;
    const shard = shardOf(index);
    if ((await shard.raiseGen(position)) === undefined) throw new GivenUp("another mover has taken over");
    const range = { from: START, to: null };
    const doomed: Doomed = {
      includes: (key) => log.locator.shardOf(key) !== index,
      includesAll: (key, last) => !log.locator.shardsOf({ key, end: keyAfter(last) }).includes(index),
    };
    await deleteKeys(shard, range, position, { options, pace: this.pace }, doomed);
    return shard.revision();
  }

  /**
   * The shards that are not in the map that the plan leads to, and that have not answered for long. The plan goes on without them:
   * a new shard may have died before any key moved there, and its plan has to turn back. Rejects with `unreachable` as long as a
   * shard may still answer.
   */
  private async lostShards({ number, below, above, up }: Plan): Promise<ReadonlySet<number>> {
    const { shardOf, runtime, logger } = this.deps;
    const kept = this.shardsOf(up ? below : above);
    // They are not asked, so it is not known how long they stay silent.
    for (const index of kept) this.silent.delete(index);
    const lost = new Set<number>();
    for (const index of this.shardsOf(below, above)) {
      if (kept.has(index)) continue;
      const shard = shardOf(index);
      try {
        await shard.revision();
        this.silent.delete(index);
      } catch (error) {
        if (!isUnreachable(error)) throw error;
        const since = this.silent.get(index) ?? runtime.now();
        this.silent.set(index, since);
        if (runtime.now() - since < LOST_MS) {
          const text = `the plan goes on without this shard, which leaves the store, if it stays away for ${LOST_MS / 1_000} s`;
          throw new MoverError("unreachable", `${error.message} (${text})`, { cause: error });
        }
        logger.warn(
          { plan: number, shard: shard.name },
          "a shard leaves the store that cannot be reached: what it still holds is not deleted",
        );
        lost.add(index);
      }
    }
    return lost;
  }

  /** Thaws the step if this mover has frozen it, then waits before the next attempt. */
  private async recover(error: unknown): Promise<void> {
    const { log, logger } = this.deps;
    const text = withDetail(error);
    this.state.step = undefined;
    if (isCompacted(error)) this.isRereading = true;
    if (this.state.waiting !== text && !this.isStopping)
      logger.warn(
        { plan: this.state.plan, phase: this.state.phase, error: text },
        "the mover tries again later",
      );
    this.state.waiting = text;
    try {
      await log.sync();
      const { plan, mover } = log.placement;
      if (plan?.frozen !== undefined && mover === this.name) await this.thaw(plan.frozen.position);
    } catch (reason) {
      if (!isExpected(reason)) throw reason;
      // The loop thaws the step once the host answers again.
    }
    if (!this.isStopping) await this.sleep(this.backoff(this.failures++));
  }

  /** Milliseconds to wait after the attempt that failed after `failures` others. */
  protected backoff(failures: number): number {
    const longest = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** Math.min(failures, 20));
    return longest * (0.5 + this.deps.runtime.random() / 2);
  }

  /** Resolves after `ms` milliseconds, or at `resume` or `stop`. */
  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = ms === Number.POSITIVE_INFINITY ? () => {} : this.deps.runtime.timer(ms, resolve, true);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
  }
}

/** True when the cursor has reached the end of the sweep. */
const isSwept = ({ cursor, up }: Plan): boolean => compareBounds(cursor, up ? null : START) === 0;

const boundName = (bound: Bound): string => (bound === null ? "the end" : printable(bound));
