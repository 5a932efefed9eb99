import type { Contradiction } from "../app/store/contradictions.js";
import { type Measurement, measure } from "../app/store/measure.js";
import { openSurvey, type Survey } from "../app/store/survey.js";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import { printable } from "../routing/bytes.js";
import { describeShard } from "../shard/name.js";
import { StatusError, withDetail } from "../status/error.js";
import { contradictionLines } from "./contradictions.js";
import { CommandError, Exit } from "./exit.js";
import { checkNewShards } from "./planChecks.js";
import type { PlanKeys, PlanReport } from "./planReport.js";
import { compareWithStore, type PlanTarget } from "./planTarget.js";
import { formatPlan } from "./planText.js";
import { reportProgress } from "./progress.js";
import { plural } from "./table.js";
import { describeUserProblem } from "./users.js";

export interface PlanOptions {
  readonly config: string;
  /** The file in force. */
  readonly current: string | undefined;
  /** Keys per second. */
  readonly rate: number;
  readonly json: boolean;
}

/** `braid plan`: compares a file with the shard map in force. */
export async function plan(options: PlanOptions): Promise<number> {
  const config = loadConfig(options.config);
  const current = options.current === undefined ? undefined : loadConfig(options.current);
  const survey = await openSurvey(config, current, createLog("silent")).catch(rejectAsFailure);
  let report: PlanReport;
  try {
    report = await reportOf(survey, config, options);
  } finally {
    survey.close();
  }
  const text = options.json ? JSON.stringify(report, undefined, 2) : formatPlan(report, options.config);
  process.stdout.write(`${text}\n`);
  if (report.problems.length > 0) return Exit.usage;
  return report.changes.length > 0 ? Exit.changes : Exit.ok;
}

async function reportOf(survey: Survey, config: Config, options: PlanOptions): Promise<PlanReport> {
  const { timeline, map } = survey;
  if (timeline instanceof StatusError && survey.hostCluster === undefined) {
    throw new CommandError(Exit.usage, `${timeline.message}. ${NEEDS_CURRENT}`);
  }
  if (timeline instanceof StatusError || map === undefined) return rejectAsFailure(timeline);
  const active = timeline.fold.placement.snapshot().plan;
  if (active !== undefined) {
    throw new CommandError(
      Exit.usage,
      `plan ${active.number} of the store has not ended yet. \`braid status\` shows it`,
    );
  }
  const target = compareWithStore(survey, timeline, map, config);
  requireShards(survey, options);
  const checks = await checkNewShards(survey, target.newShards, config).catch(rejectAsFailure);
  const isReadable = survey.shards.every(({ cluster }) => cluster?.reading !== undefined);
  const measured =
    target.changes.length > 0 && isReadable
      ? await measure(survey, target.from, target.to, reportProgress("keys")).catch(rejectAsFailure)
      : undefined;
  const problems: Contradiction[] = [...target.problems, ...checks.problems];
  return {
    store: survey.id ?? null,
    revision: measured?.revision ?? null,
    changes: target.changes,
    problems: [
      ...contradictionLines(problems, config, options.config),
      ...(measured ? misplacedTexts(measured, target) : []),
    ],
    warnings: [...checks.warnings, ...warningsOf(target)],
    keys: measured === undefined ? null : keysOf(measured, target, options.rate),
  };
}

const NEEDS_CURRENT = "Give the file with which the proxies run now: --current <file>";

/** The keys of every shard in force have to be read, so its address must be known. */
function requireShards({ shards }: Survey, { config, current }: PlanOptions): void {
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

function rejectAsFailure(reason: unknown): never {
  if (reason instanceof CommandError) throw reason;
  throw new CommandError(Exit.failure, describeUserProblem(reason) ?? withDetail(reason));
}
