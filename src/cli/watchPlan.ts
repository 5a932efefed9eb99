import { setTimeout } from "node:timers/promises";
import type { PlanRecords, PlanStore } from "../app/reshard/planStore.js";
import type { Plan } from "../reshard/placement.js";
import { type PlanProgress, progressOf } from "../reshard/progress.js";
import type { ProgressRecord } from "../reshard/record.js";
import { StatusError, withDetail } from "../status/error.js";
import type { PlanOutput } from "./planOutput.js";
import type { Speed } from "./progressText.js";

/** Pause between two looks at a plan, in milliseconds. */
const LOOK_MS = 500;
/** How long a plan may be without a proxy before advice is shown, in milliseconds. One that dies is replaced within 5 s. */
const UNATTENDED_MS = 6_000;
/** How long to wait for the last progress of a plan that is done, in milliseconds. */
const LAST_PROGRESS_MS = 2_000;
/** Speed is measured over this time, in milliseconds. */
const WINDOW_MS = 10_000;

/** How a plan ended while it was watched. */
export interface Ending {
  /** The plan as it was last seen: its number and its maps. */
  readonly plan: Plan;
  /** The last progress of the plan with this number. */
  readonly progress: ProgressRecord | undefined;
}

/**
 * Shows a plan until it ends. Resolves to undefined if `signal` ends this before. If the plan is turned back, continues with its
 * new number. Failures to read are shown, and it tries again.
 */
export async function watchPlan(
  store: PlanStore,
  active: Plan,
  out: PlanOutput,
  signal: AbortSignal,
): Promise<Ending | undefined> {
  let plan = active;
  const speed = new SpeedMeter();
  let attendedAt = Date.now();
  while (!signal.aborted) {
    const records = await look(store).catch((reason) => StatusError.from(reason));
    const now = store.timeline.placement.plan;
    if (now === undefined || !isSame(plan, now)) return { plan, progress: await lastProgress(store, plan) };
    if (now.number !== plan.number) {
      const text = `Plan ${plan.number} has been turned back: its keys move back, as plan ${now.number}.`;
      out.say(text, { type: "turned back", plan: now.number, was: plan.number });
      speed.reset();
    }
    plan = now;
    if (records instanceof StatusError) {
      out.progress(unreadable(plan, records), NO_SPEED);
    } else {
      if (records.seat !== undefined) attendedAt = Date.now();
      const progress = progressOf(plan, records);
      // Within the first seconds, a proxy may be about to take the plan.
      const isEarly = progress.state === "unattended" && Date.now() - attendedAt < UNATTENDED_MS;
      out.progress(isEarly ? { ...progress, advice: null } : progress, speed.measure(progress));
    }
    await setTimeout(LOOK_MS, undefined, { signal }).catch(() => {});
  }
  return undefined;
}

async function look(store: PlanStore): Promise<PlanRecords> {
  const [records] = await Promise.all([store.readRecords(), store.timeline.sync()]);
  return records;
}

/** A plan keeps its maps when it is turned back. */
const isSame = (before: Plan, now: Plan): boolean => before.below === now.below && before.above === now.above;

const NO_SPEED: Speed = { keysPerSecond: undefined, seconds: undefined };

const unreadable = (plan: Plan, error: StatusError): PlanProgress => ({
  ...progressOf(plan, { control: undefined, seat: undefined, progress: undefined }),
  state: "waiting",
  reason: `the timeline host cannot be read: ${withDetail(error)}`,
  advice: "this command tries again by itself",
});

/** The progress that the mover records after the end of the plan; the newest one if that does not come. */
async function lastProgress(store: PlanStore, { number }: Plan): Promise<ProgressRecord | undefined> {
  const deadline = Date.now() + LAST_PROGRESS_MS;
  for (;;) {
    const records = await store.readRecords().catch(() => undefined);
    const progress = records?.progress?.plan === number ? records.progress : undefined;
    if (progress?.phase === "idle" || Date.now() > deadline) return progress;
    await setTimeout(LOOK_MS);
  }
}

class SpeedMeter {
  private samples: { readonly at: number; readonly keys: number }[] = [];

  reset(): void {
    this.samples = [];
  }

  measure({ keys, totalKeys, keysPerSecond, state }: PlanProgress): Speed {
    if (keys === null || state !== "moving") {
      this.reset();
      return NO_SPEED;
    }
    const at = Date.now();
    this.samples = this.samples.filter((sample) => at - sample.at <= WINDOW_MS && sample.keys <= keys);
    const [first] = this.samples;
    this.samples.push({ at, keys });
    const measured =
      first !== undefined && at - first.at >= 1_000 ? (keys - first.keys) / ((at - first.at) / 1_000) : 0;
    const rate = measured > 0 ? measured : (keysPerSecond ?? 0);
    if (rate <= 0) return NO_SPEED;
    const seconds = totalKeys === null ? undefined : Math.max(0, totalKeys - keys) / rate;
    return { keysPerSecond: rate, seconds };
  }
}
