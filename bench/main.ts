import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { packageRoot } from "../src/ops/package.js";
import { chart } from "./chart.js";
import { parse, say, workFolder } from "./command.js";
import { withLastRun } from "./document.js";
import { describeMachine } from "./machine.js";
import { HELP, type Options, parseOptions } from "./options.js";
import { createReport, render } from "./report.js";
import { runBench } from "./run.js";

/** Other measurements, by the flag that selects them. */
const OTHERS: Readonly<Record<string, () => Promise<{ run(args: readonly string[]): Promise<void> }>>> = {
  "--scale": () => import("./scale/main.js"),
  "--fleet": () => import("./fleet/main.js"),
  "--clients": () => import("./clients/main.js"),
  "--cold": () => import("./cold/main.js"),
  "--soak": () => import("./soak/main.js"),
};

const args = process.argv.slice(2);
const other = Object.keys(OTHERS).find((flag) => args.includes(flag));
if (other !== undefined) await (await OTHERS[other]()).run(args);
else await run(args);

async function run(args: readonly string[]): Promise<void> {
  const options = parse(() => parseOptions(args), HELP);
  if (options !== undefined) await main(options);
}

async function main(options: Options): Promise<void> {
  const dir = workFolder(options.dir);
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
