import { moveHost } from "../app/reshard/moveHost.js";
import { PlanStore } from "../app/reshard/planStore.js";
import { ActivePlanError, recordPlan } from "../app/reshard/recordPlan.js";
import type { Survey, SurveyedCluster } from "../app/store/survey.js";
import type { Plan } from "../reshard/placement.js";
import { fingerprint } from "../routing/fingerprint.js";
import { describeShard } from "../shard/name.js";
import { CommandError, Exit } from "./exit.js";
import { activePlan, type BuiltPlan, buildPlan, type PlanFiles, rejectAsFailure } from "./planBuild.js";
import { endingText, reportEnding } from "./planEnding.js";
import { type PlanOutput, planOutput } from "./planOutput.js";
import { formatPlan } from "./planText.js";
import { onSignals } from "./signals.js";
import { ask, canAsk } from "./terminal.js";
import { watchPlan } from "./watchPlan.js";

export interface ApplyOptions extends PlanFiles {
  /** True: nobody is asked. */
  readonly yes: boolean;
  /** Most keys to copy per second, at least 0; 0: no limit; undefined: as it is. */
  readonly maxKeysPerSecond: number | undefined;
  readonly json: boolean;
}

/** Keys per second, for the estimate of the time. */
const RATE = 5_000;

/** `braid apply` with a file: records the plan, and watches it. */
export async function apply(options: ApplyOptions): Promise<number> {
  const { config: file, json, maxKeysPerSecond } = options;
  const limit = maxKeysPerSecond === undefined || maxKeysPerSecond === 0 ? null : maxKeysPerSecond;
  const built = await buildPlan(options, Math.min(RATE, limit ?? RATE));
  const { survey, report, target } = built;
  const out = planOutput(json);
  try {
    out.say(formatPlan(report, file), { type: "plan", ...report });
    if (report.problems.length > 0) return Exit.usage;
    if (report.changes.length === 0) return Exit.ok;
    if (!(await isConfirmed(options))) return Exit.failure;
    return await withSignals(async (signal) => {
      const store = await PlanStore.open(survey).catch(rejectAsFailure);
      try {
        if (target.host !== undefined) {
          await moveTimeline(store, survey, target.host, out);
          const isDone = report.changes.every(({ of }) => of === "timeline");
          // Compares again, because the store has changed.
          return isDone ? Exit.ok : await apply({ ...options, yes: true });
        }
        const plan = await record(store, built, limit);
        const recordedAt = Date.now();
        out.say(`\nPlan ${plan.number} is recorded. The proxies move the keys; this command only watches.`, {
          type: "recorded",
          plan: plan.number,
        });
        return await watch(store, plan, out, signal, recordedAt);
      } finally {
        store.close();
      }
    });
  } finally {
    survey.close();
  }
}

async function isConfirmed({ yes, json }: ApplyOptions): Promise<boolean> {
  if (yes) return true;
  if (json || !canAsk()) {
    const why = json ? "with --json, nobody is asked" : "there is no terminal to ask";
    throw new CommandError(Exit.usage, `nothing was changed: ${why}. To apply the plan, give --yes`);
  }
  process.stdout.write("\n");
  if (await ask("Apply this plan?")) return true;
  process.stdout.write("Nothing was changed.\n");
  return false;
}

async function moveTimeline(
  store: PlanStore,
  survey: Survey,
  target: SurveyedCluster,
  out: PlanOutput,
): Promise<void> {
  await moveHost(store, survey, target).catch((reason) => {
    throw reason instanceof ActivePlanError ? activePlan(reason.plan) : rejectAsFailure(reason);
  });
  const where = target.index < 0 ? "on a cluster of its own" : `on ${describeShard(target)}`;
  out.say(
    `\nThe timeline is ${where} now. Put that into the files of all proxies before the old host is switched off.`,
    { type: "timeline moved", shard: target.index < 0 ? null : target.name },
  );
}

async function record(
  store: PlanStore,
  { survey, config, target, report }: BuiltPlan,
  maxKeysPerSecond: number | null,
): Promise<Plan> {
  const { text: map } = await fingerprint(config.map);
  const order = {
    survey,
    map,
    newShards: target.newShards,
    maxKeysPerSecond,
    keys: report.keys?.moving ?? null,
    bytes: report.keys?.movingBytes ?? null,
  };
  return recordPlan(store, order).catch((reason) => {
    throw reason instanceof ActivePlanError ? activePlan(reason.plan) : rejectAsFailure(reason);
  });
}

/**
 * Watches a plan to its end. `recordedAt` is when this command has recorded it, in milliseconds since the epoch; undefined if it
 * has not.
 */
export async function watch(
  store: PlanStore,
  plan: Plan,
  out: PlanOutput,
  signal: AbortSignal,
  recordedAt?: number,
): Promise<number> {
  const ending = await watchPlan(store, plan, out, signal).catch(rejectAsFailure);
  if (ending === undefined) {
    const text = "The plan goes on without this command. To watch it again: braid apply --watch";
    out.say(text, { type: "left", plan: store.timeline.placement.plan?.number ?? null });
    return Exit.ok;
  }
  const seconds = recordedAt === undefined ? undefined : (Date.now() - recordedAt) / 1_000;
  const report = reportEnding(ending, store.timeline, seconds);
  out.say(endingText(report), { ...report });
  // Somebody has turned it back.
  return recordedAt !== undefined && ending.plan.number !== plan.number ? Exit.failure : Exit.ok;
}

/** The first signal ends the command when that is possible, a second one at once. */
export function withSignals(run: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const abort = new AbortController();
  onSignals(
    () => abort.abort(),
    () => process.exit(Exit.failure),
  );
  return run(abort.signal);
}
