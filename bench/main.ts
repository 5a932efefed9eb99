import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { packageRoot } from "../src/ops/package.js";
import { chart } from "./chart.js";
import { withLastRun } from "./document.js";
import { describeMachine } from "./machine.js";
import { HELP, type Options, parseOptions } from "./options.js";
import { createReport, render } from "./report.js";
import { runBench } from "./run.js";

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

let options: Options | undefined;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  say((error as Error).message);
  process.exit(2);
}
if (options === undefined) process.stdout.write(`${HELP}\n`);
else await main(options);

async function main(options: Options): Promise<void> {
  const parent = resolve(options.dir ?? join(packageRoot, ".cache"));
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, "bench-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  // All child processes end with this process.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1));

  const machine = describeMachine(dir);
  const report = createReport(machine, options, await runBench(options, dir, say));
  const usual = options.complete ? "latest.json" : "partial.json";
  const output = resolve(options.output ?? join(packageRoot, "bench/results", usual));
  mkdirSync(dirname(output), { recursive: true });
  writeFileSync(output, `${JSON.stringify(report, undefined, 2)}\n`);
  writeFileSync(output.replace(/(\.json)?$/, ".svg"), chart(report));
  if (options.complete && options.output === undefined) {
    const document = join(packageRoot, "docs/performance.md");
    writeFileSync(document, withLastRun(readFileSync(document, "utf8"), report));
  }
  process.stdout.write(render(report));
  say(`\nAll results: ${output}, and a chart beside it`);
  if (report.figures.some(({ errors, failures }) => errors > 0 || failures.length > 0)) process.exitCode = 1;
}
