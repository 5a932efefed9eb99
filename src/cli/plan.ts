import { Exit } from "./exit.js";
import { buildPlan, type PlanFiles } from "./planBuild.js";
import { formatPlan } from "./planText.js";

export interface PlanOptions extends PlanFiles {
  /** Keys per second. */
  readonly rate: number;
  readonly json: boolean;
}

/** `braid plan`: compares a file with the shard map in force. */
export async function plan(options: PlanOptions): Promise<number> {
  const { survey, report } = await buildPlan(options, options.rate);
  survey.close();
  const text = options.json ? JSON.stringify(report, undefined, 2) : formatPlan(report, options.config);
  process.stdout.write(`${text}\n`);
  if (report.problems.length > 0) return Exit.usage;
  if (report.changes.length === 0) return Exit.ok;
  if (!options.json) process.stdout.write("\nNothing was changed. `braid apply` makes these changes.\n");
  return Exit.changes;
}
