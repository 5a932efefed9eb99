import { readFileSync } from "node:fs";
import { until } from "./until.js";

/** True while a process with this id runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    // A process that has ended stays a zombie for as long as nobody asks for its exit code.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return process.platform !== "linux";
  }
}

/** Resolves when none of the processes runs any more. */
export function untilGone(pids: readonly number[]): Promise<void> {
  return until(`processes ${pids.join(", ")} have ended`, () => !pids.some(isAlive));
}
