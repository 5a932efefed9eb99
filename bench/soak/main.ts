import { EXIT, parse, save, say, workFolder } from "../command.js";
import { describeMachine } from "../machine.js";
import { HELP, parseSoakOptions } from "./options.js";
import { renderSoak, type SoakReport } from "./report.js";
import { runSoak } from "./run.js";

/** `npm run bench -- --soak`. */
export async function run(args: readonly string[]): Promise<void> {
  const options = parse(() => parseSoakOptions(args), HELP);
  if (options === undefined) return;
  const dir = workFolder(options.dir);
  const machine = describeMachine(dir);
  const figures = await runSoak(options, dir, say);
  const report: SoakReport = { measuredAt: new Date().toISOString(), machine, options, figures };
  const output = save(report, "soak.json");
  process.stdout.write(renderSoak(report));
  say(`\nAll results: ${output}`);
  if (figures.some(({ errors }) => errors > 0)) process.exitCode = EXIT.failures;
}
