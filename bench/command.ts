import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { packageRoot } from "../src/ops/package.js";
import { type PartName, withPart } from "./document.js";
import type { Machine } from "./machine.js";

/** Exit codes of the benchmarks. */
export const EXIT = {
  /** Requests have failed. */
  failures: 1,
  /** The command line is wrong. */
  usage: 2,
  /** This machine does not allow the measurement. */
  impossible: 3,
} as const;

/** Shows progress. */
export const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** Parsed options. Undefined if the user asked for help, which is shown then. Ends this process if the command line is wrong. */
export function parse<T>(parser: () => T | undefined, help: string): T | undefined {
  let options: T | undefined;
  try {
    options = parser();
  } catch (error) {
    say((error as Error).message);
    process.exit(EXIT.usage);
  }
  if (options === undefined) process.stdout.write(`${help}\n`);
  return options;
}

/** A new folder in `parent` (default: .cache) for the etcds' data. It and all child processes end with this process. */
export function workFolder(parent: string | undefined): string {
  const folder = resolve(parent ?? join(packageRoot, ".cache"));
  mkdirSync(folder, { recursive: true });
  const dir = mkdtempSync(join(folder, "bench-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1));
  return dir;
}

/** A report with the machine, the options and the figures of a measurement. */
interface Saved {
  readonly measuredAt: string;
  readonly options: { readonly output: string | undefined; readonly complete: boolean };
  readonly machine: Machine;
  readonly figures: unknown;
}

/**
 * Saves a report as JSON and returns the path: `options.output`, or in bench/results, under another name if it is not of everything
 * in full.
 */
export function save(report: Saved, name: string): string {
  const { output, complete } = report.options;
  const path = resolve(output ?? join(packageRoot, "bench/results", complete ? name : `partial-${name}`));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(report, undefined, 2)}\n`);
  return path;
}

/** Replaces a part of docs/performance.md, if everything was measured in full and saved at the usual place. */
export function publish({ options }: Pick<Saved, "options">, name: PartName, content: string): void {
  if (!options.complete || options.output !== undefined) return;
  const document = join(packageRoot, "docs/performance.md");
  writeFileSync(document, withPart(readFileSync(document, "utf8"), name, content));
}
