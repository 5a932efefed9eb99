import { EXIT, parse, save, say, workFolder } from "../command.js";
import { describeMachine } from "../machine.js";
import { HELP, parseClientsOptions } from "./options.js";
import { createClientsReport, renderClients } from "./report.js";
import { runClients } from "./run.js";

/** `npm run bench -- --clients`. */
export async function run(args: readonly string[]): Promise<void> {
  const options = parse(() => parseClientsOptions(args), HELP);
  if (options === undefined) return;
  const dir = workFolder(options.dir);
  const machine = describeMachine(dir);
  const report = createClientsReport(machine, options, await runClients(options, dir, say));
  const output = save(report, "clients.json");
  process.stdout.write(renderClients(report));
  say(`\nAll results: ${output}`);
  if (report.figures.moves.some(({ wrong, leasesLost }) => wrong > 0 || leasesLost > 0))
    process.exitCode = EXIT.failures;
}
