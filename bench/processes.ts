import { readdirSync, readFileSync } from "node:fs";

/**
 * Processor time that a process has used so far, microseconds: of all its threads, as the scheduler counts it
 * (Linux). Threads that have ended are missing; servers keep theirs.
 */
export function processorTime(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ", 1)[0]);
    } catch {
      // the thread has ended meanwhile
    }
  }
  return nanoseconds / 1000;
}

/** The processes that a process has started and that run. */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").trim();
    return text === "" ? [] : text.split(" ").map(Number);
  });
}

/** Resident memory of a process, bytes. */
export function residentMemory(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
  return Number(line?.[1] ?? 0) * 1024;
}

/** Measures processes over a time: processor time from `start`, memory at the end. */
export class Meter {
  private readonly before: Record<string, number>;
  private readonly pids: Readonly<Record<string, number>>;

  constructor(pids: Readonly<Record<string, number>>) {
    this.pids = { ...pids, load: process.pid };
    this.before = perProcess(this.pids, processorTime);
  }

  read(): { cpu: Record<string, number>; memory: Record<string, number> } {
    const cpu = perProcess(this.pids, processorTime);
    for (const name of Object.keys(cpu)) cpu[name] -= this.before[name];
    return { cpu, memory: perProcess(this.pids, residentMemory) };
  }
}

function perProcess(
  pids: Readonly<Record<string, number>>,
  measure: (pid: number) => number,
): Record<string, number> {
  return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, measure(pid)]));
}
