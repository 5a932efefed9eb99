import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { endWithParent } from "../../src/dev/guard.js";

const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const program = fileURLToPath(new URL(`../../bench/main.${extension}`, import.meta.url));

/** Runs `npm run bench` to its end, without compiling. */
export async function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [...process.execArgv.filter(isLoader), program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  endWithParent(child);
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  const [code] = await once(child, "close");
  return { code, stdout, stderr };
}

/** Sources need the flags that load them; the test runner's own flags are not for the benchmark. */
const isLoader = (flag: string, i: number, all: readonly string[]): boolean =>
  flag.startsWith("--import") || all[i - 1] === "--import";
