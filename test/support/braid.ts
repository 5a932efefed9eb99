import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { endWithParent } from "../../src/dev/guard.js";
import type { CommandResult } from "./etcdctl.js";

// Tests run compiled or from their sources; the command is run the same way.
const fromSources = import.meta.url.endsWith(".ts");
const main = fileURLToPath(new URL(`../../src/cli/main.${fromSources ? "ts" : "js"}`, import.meta.url));

/** Command line that starts `braid`; arguments follow. */
export const braidCommand: readonly string[] = [
  process.execPath,
  ...(fromSources ? ["--import", import.meta.resolve("tsx")] : []),
  main,
];

/** Starts `braid <args>`. Ended with this process at the latest. */
export function spawnBraid(args: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const [command, ...first] = braidCommand;
  const child = spawn(command, [...first, ...args], options);
  endWithParent(child);
  return child;
}

/** Runs `braid <args>` to its end. */
export function braid(...args: string[]): Promise<CommandResult> {
  const child = spawnBraid(args, { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout!.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  child.stderr!.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}

/** A new folder under the system's temporary one, deleted when this process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "braid-test-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
