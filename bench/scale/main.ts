import { existsSync, writeFileSync } from "node:fs";
import { EXIT, parse, publish, save, say, workFolder } from "../command.js";
import { describeMachine } from "../machine.js";
import { scaleChart } from "./chart.js";
import { HELP, parseScaleOptions, type ScaleOptions } from "./options.js";
import { NoQuotaError, openQuotas } from "./quota.js";
import { createScaleReport, renderScale, scaleDocument } from "./report.js";
import { runScale } from "./run.js";

/** Files in memory (Linux). */
const MEMORY = "/dev/shm";

/** `npm run bench -- --scale`. */
export async function run(args: readonly string[]): Promise<void> {
  const options = parse(() => parseScaleOptions(args), HELP);
  if (options === undefined) return;
  try {
    await measure(options);
  } catch (error) {
    if (!(error instanceof NoQuotaError)) throw error;
    say(error.message);
    process.exitCode = EXIT.impossible;
  }
}

async function measure(options: ScaleOptions): Promise<void> {
  const quotas = openQuotas();
  process.on("exit", () => quotas.close());
  const dir = workFolder(options.dir ?? (existsSync(MEMORY) ? MEMORY : undefined));
  const machine = describeMachine(dir);
  const report = createScaleReport(machine, options, await runScale(options, dir, quotas, say));
  const output = save(report, "scale.json");
  writeFileSync(output.replace(/(\.json)?$/, ".svg"), scaleChart(report));
  publish(report, "scale", scaleDocument(report));
  process.stdout.write(renderScale(report));
  say(`\nAll results: ${output}, and a chart beside it`);
  if (report.figures.some(({ errors }) => errors > 0)) process.exitCode = EXIT.failures;
}
