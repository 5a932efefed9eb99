import type { MovedStep } from "../../mover/mover.js";
import type { Progress } from "../../mover/progress.js";
import type { Bound } from "../../reshard/bound.js";
import type { ProgressRecord } from "../../reshard/record.js";
import { printable } from "../../routing/bytes.js";

type Totals = Pick<ProgressRecord, "keys" | "bytes" | "steps" | "lastPauseMs" | "longestPauseMs">;

const NOTHING: Totals = { keys: 0, bytes: 0, steps: 0, lastPauseMs: 0, longestPauseMs: 0 };

/** Adds up what a plan has moved over all of its movers, and describes it as a record. */
export class PlanProgress {
  private plan = 0;
  private totals = NOTHING;

  /** `earlier` is the record that was there when this proxy began. It counts if it is about the same plan. */
  constructor(
    private readonly proxy: string,
    earlier: ProgressRecord | undefined,
  ) {
    if (earlier === undefined) return;
    this.plan = earlier.plan;
    this.totals = earlier;
  }

  moved({ plan, keys, bytes, pauseMs }: MovedStep): void {
    this.turnTo(plan);
    const { totals } = this;
    this.totals = {
      keys: totals.keys + keys,
      bytes: totals.bytes + bytes,
      steps: totals.steps + 1,
      lastPauseMs: pauseMs,
      longestPauseMs: Math.max(totals.longestPauseMs, pauseMs),
    };
  }

  /** The record to write. `at` is in milliseconds since the epoch. */
  record({ plan, phase, step, stepKeys, keysPerSecond, waiting }: Progress, at: number): ProgressRecord {
    this.turnTo(plan);
    const { keys, bytes, steps, lastPauseMs, longestPauseMs } = this.totals;
    return {
      plan,
      proxy: this.proxy,
      at,
      phase,
      step: step === undefined ? null : { from: textOf(step.from), to: textOf(step.to) },
      stepKeys: step === undefined ? 0 : stepKeys,
      keys,
      bytes,
      steps,
      keysPerSecond,
      lastPauseMs,
      longestPauseMs,
      waiting: waiting ?? null,
    };
  }

  /** A plan that turns back gets another number, and is counted anew. */
  private turnTo(plan: number): void {
    if (this.plan === plan) return;
    this.plan = plan;
    this.totals = NOTHING;
  }
}

const textOf = (bound: Bound): string | null => (bound === null ? null : printable(bound));
