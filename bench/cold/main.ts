import { parse, save, say, workFolder } from "../command.js";
import { describeMachine, type Machine } from "../machine.js";
import { HELP, parseColdOptions } from "./options.js";
import { runCold } from "./run.js";

/** `npm run bench -- --cold`. */
export async function run(args: readonly string[]): Promise<void> {
  const options = parse(() => parseColdOptions(args), HELP);
  if (options === undefined) return;
  const dir = workFolder(options.dir);
  const machine: Machine = describeMachine(dir);
  const figures = await runCold(options, dir, say);
  const output = save({ measuredAt: new Date().toISOString(), machine, options, figures }, "cold.json");
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  const bytes = (figures.fullMemory - figures.emptyMemory) / figures.segments;
  process.stdout.write(
    [
      `${machine.cores} cores (${machine.model}), etcd ${machine.etcd}, Node.js ${machine.node}, etcd-braid ${machine.braid}`,
      "",
      `ready over an empty store: ${figures.emptySeconds.toFixed(2)} s, ${mib(figures.emptyMemory)} MiB`,
      `ready over ${options.keys} keys and ${figures.segments} segments: ${figures.fullSeconds.toFixed(2)} s, ` +
        `${mib(figures.fullMemory)} MiB; ${bytes.toFixed(0)} bytes for each segment`,
      "",
    ].join("\n"),
  );
  say(`\nAll results: ${output}`);
}
