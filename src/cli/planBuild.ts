import type { Contradiction } from "../app/store/contradictions.js";
import { type Measurement, measure } from "../app/store/measure.js";
import { openSurvey, type Survey, type SurveyedTimeline } from "../app/store/survey.js";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import type { PlacementState } from "../reshard/placement.js";
import { printable } from "../routing/bytes.js";
import { areAlike, fingerprint, parseMap } from "../routing/fingerprint.js";
import { describeShard } from "../shard/name.js";
import { StatusError, withDetail } from "../status/error.js";
import { contradictionLines } from "./contradictions.js";
import { CommandError, Exit } from "./exit.js";
import { checkNewShards, checkNextHost } from "./planChecks.js";
import type { PlanKeys, PlanReport } from "./planReport.js";
import { compareWithStore, type PlanTarget } from "./planTarget.js";
import { reportProgress } from "./progress.js";
import { plural } from "./table.js";
import { describeUserProblem } from "./users.js";

/** The files that say what a store is to become, and where it is. */
export interface PlanFiles {
  readonly config: string;
  /** The file in force, for shards that `config` does not name. */
  readonly current: string | undefined;
}

/** A plan that could be recorded. */
export interface BuiltPlan {
  readonly survey: Survey;
  readonly config: Config;
  readonly target: PlanTarget;
  readonly report: PlanReport;
}

/** Reads the store of these files. */
export async function surveyStore(files: PlanFiles): Promise<Survey> {
  const config = loadConfig(files.config);
  const current = files.current === undefined ? undefined : loadConfig(files.current);
  return openSurvey(config, current, createLog("silent")).catch(rejectAsFailure);
}

/** The timeline of a store. Throws a `CommandError` if it could not be read. */
export function timelineOf({ timeline, hostCluster }: Survey): SurveyedTimeline {
  if (!(timeline instanceof StatusError)) return timeline;
  if (hostCluster === undefined) throw new CommandError(Exit.usage, `${timeline.message}. ${NEEDS_CURRENT}`);
  return rejectAsFailure(timeline);
}

/** Compares a file with the shard map in force. `rate` is in keys per second. The caller closes `survey` of the result. */
export async function buildPlan(files: PlanFiles, rate: number): Promise<BuiltPlan> {
  const config = loadConfig(files.config);
  const survey = await surveyStore(files);
  try {
    return { survey, config, ...(await compare(survey, config, files, rate)) };
  } catch (error) {
    survey.close();
    throw error;
  }
}

async function compare(
  survey: Survey,
  config: Config,
  files: PlanFiles,
  rate: number,
): Promise<Pick<BuiltPlan, "target" | "report">> {
  const timeline = timelineOf(survey);
  const placement = timeline.fold.placement.snapshot();
  if (placement.plan !== undefined) throw activePlan(placement.plan.number);
  const target = compareWithStore(survey, timeline, parseMap(placement.inForce), config);
  requireShards(survey, files);
  const checks = await checkNewShards(survey, target.newShards, config).catch(rejectAsFailure);
  const isReadable = survey.shards.every(({ cluster }) => cluster?.reading !== undefined);
  const measured =
    target.changes.length > 0 && isReadable
      ? await measure(survey, target.from, target.to, reportProgress("keys")).catch(rejectAsFailure)
      : undefined;
  const current = files.current === undefined ? undefined : loadConfig(files.current);
  const ofHost = target.host === undefined ? [] : await checkNextHost(target.host, config, current);
  const problems: Contradiction[] = [...target.problems, ...checks.problems, ...ofHost];
  const earlier = earlierText(placement, (await fingerprint(config.map)).text);
  const report: PlanReport = {
    store: survey.id ?? null,
    revision: measured?.revision ?? null,
    changes: target.changes,
    problems: [
      ...contradictionLines(problems, config, files.config),
      ...(measured ? misplacedTexts(measured, target) : []),
    ],
    warnings: [...checks.warnings, ...earlier, ...warningsOf(target)],
    keys: measured === undefined ? null : keysOf(measured, target, rate),
  };
  return { target, report };
}

/** The refusal of a plan while another one is active. */
export const activePlan = (number: number): CommandError =>
  new CommandError(Exit.usage, `plan ${number} is already active. \`braid apply --watch\` shows it`);

/** The file may be one that somebody forgot to update. */
function earlierText({ earlier, inForce, plans }: Readonly<PlacementState>, map: string): string[] {
  if (areAlike(map, inForce) || !earlier.some((each) => areAlike(map, each))) return [];
  const which = areAlike(map, earlier.at(-1) ?? inForce)
    ? `the newest plan, number ${plans}, has left it`
    : "an older plan has left it";
  return [`The store has had the map of this file before: ${which}. Is the file the right one?`];
}

const NEEDS_CURRENT = "Give the file with which the proxies run now: --current <file>";

/** The keys of every shard in force have to be read, so its address must be known. */
function requireShards({ shards }: Survey, { config, current }: PlanFiles): void {
  const missing = shards.filter(({ cluster }) => cluster === undefined);
  if (missing.length === 0) return;
  const names = missing.map((shard) => `${describeShard(shard)} (etcd cluster ${shard.clusterId})`);
  const files = current === undefined ? `${config} does` : `${config} and ${current} do`;
  throw new CommandError(
    Exit.usage,
    `${files} not have the addresses of these shards of the store: ${names.join(", ")}. ${NEEDS_CURRENT}`,
  );
}

/** Somebody has written to a shard without the proxies. */
function misplacedTexts({ misplaced }: Measurement, { clusters }: PlanTarget): string[] {
  return [...misplaced].map(
    ([cluster, { keys, example }]) =>
      `${describeShard({ name: clusters[cluster]?.name ?? "" })}: it holds ${plural(keys, "key")} of other shards by the ` +
      `rules in force (the first is "${printable(example)}"). They were written without a proxy: delete them there`,
  );
}

function warningsOf({ from, to }: PlanTarget): string[] {
  if (from.map.shards.length > 1 || to.map.shards.length === 1) return [];
  return [
    "The store has one shard, so a transaction may write to any keys. Afterwards, a transaction that writes to " +
      "groups on several shards is refused.",
  ];
}

function keysOf(measured: Measurement, { clusters }: PlanTarget, rate: number): PlanKeys {
  const { movements, bytes } = measured;
  const name = (cluster: number): string => clusters[cluster]?.name ?? "";
  const sum = (counts: readonly number[]) => counts.reduce((total, each) => total + each, 0);
  const moving = sum(movements.map(({ keys }) => keys));
  return {
    total: measured.keys,
    moving,
    movingGroups: sum(movements.map(({ groups }) => groups)),
    movingBytes: sum(bytes),
    sampled: measured.sampled,
    steps: measured.steps,
    largestStep: measured.largestStep,
    rate,
    seconds: moving / rate,
    moves: movements.map(({ from, to, groups, keys }, index) => ({
      from: name(from),
      to: name(to),
      groups,
      keys,
      bytes: bytes[index] ?? 0,
    })),
    shards: clusters.map(({ state }, cluster) => ({
      name: name(cluster),
      state,
      before: measured.before.get(cluster) ?? 0,
      after: measured.after.get(cluster) ?? 0,
    })),
    splits: measured.splits.map(({ name, isPinned, keys, parts, clusters }) => ({
      name: printable(name),
      pinned: isPinned,
      keys,
      parts,
      shards: clusters,
    })),
  };
}

/** Throws a `CommandError` for an error of the store. */
export function rejectAsFailure(reason: unknown): never {
  if (reason instanceof CommandError) throw reason;
  throw new CommandError(Exit.failure, describeUserProblem(reason) ?? withDetail(reason));
}
