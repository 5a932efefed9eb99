import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** How long processes may take to go, ms. */
const PATIENCE = 10_000;

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

/** Resolves when none of the processes runs any more; rejects when one still does after ten seconds. */
export async function untilGone(pids: readonly number[]): Promise<void> {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const left = pids.filter(isAlive);
    if (left.length === 0) return;
    if (Date.now() > deadline) throw new Error(`still running: ${left.join(", ")}`);
    await sleep(20);
  }
}
