import { parse, publish, save, say, workFolder } from "../command.js";
import { describeMachine } from "../machine.js";
import { HELP, parseFleetOptions } from "./options.js";
import { type FleetReport, fleetDocument, renderFleet } from "./report.js";
import { runFleets } from "./run.js";

/** `npm run bench -- --fleet`. */
export async function run(args: readonly string[]): Promise<void> {
  const options = parse(() => parseFleetOptions(args), HELP);
  if (options === undefined) return;
  const dir = workFolder(options.dir);
  const machine = describeMachine(dir);
  const figures = await runFleets(options, dir, say);
  const report: FleetReport = { measuredAt: new Date().toISOString(), machine, options, figures };
  const output = save(report, "fleet.json");
  publish(report, "fleet", fleetDocument(report));
  process.stdout.write(renderFleet(report));
  say(`\nAll results: ${output}`);
}
