import { readdirSync, readFileSync } from "node:fs";

/**
 * CPU time of a process so far, in microseconds: the sum of its threads, as the scheduler counts it (Linux). Threads that have
 * ended are missing; servers keep theirs.
 */
export function processorTime(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ", 1)[0]);
    } catch {
      // the thread has ended in the meantime
    }
  }
  return nanoseconds / 1000;
}

/** The running child processes of a process. */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").trim();
    return text === "" ? [] : text.split(" ").map(Number);
  });
}

/** Resident memory of a process, in bytes. */
export function residentMemory(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
  return Number(line?.[1] ?? 0) * 1024;
}

/** Counts of a process's activity so far. */
export interface Activity {
  /** CPU time in its own code and in the kernel, in the kernel's ticks (usually 10 ms). */
  readonly userTicks: number;
  readonly systemTicks: number;
  /** Calls that read or wrote sockets, files or pipes. */
  readonly reads: number;
  readonly writes: number;
  /** How often one of its threads was idle and waited. */
  readonly waits: number;
}

/** Counts of the kernel (Linux). */
export function activity(pid: number): Activity {
  // The second field, the program's name, may contain any characters.
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)!.split(" ");
  const io = readFileSync(`/proc/${pid}/io`, "latin1");
  const count = (text: string, name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
  let waits = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "latin1");
      waits += count(status, "voluntary_ctxt_switches");
    } catch {
      // the thread has ended in the meantime
    }
  }
  return {
    userTicks: Number(stat[11]),
    systemTicks: Number(stat[12]),
    reads: count(io, "syscr"),
    writes: count(io, "syscw"),
    waits,
  };
}

/** Measures processes over a period: CPU time and activity from `start`, memory at the end. */
export class Meter {
  private readonly pids: Readonly<Record<string, number>>;
  private readonly cpuBefore: Record<string, number>;
  private readonly activityBefore: Record<string, Activity>;

  constructor(pids: Readonly<Record<string, number>>) {
    this.pids = { ...pids, load: process.pid };
    this.activityBefore = perProcess(this.pids, activity);
    this.cpuBefore = perProcess(this.pids, processorTime);
  }

  read(): {
    cpu: Record<string, number>;
    activity: Record<string, Activity>;
    memory: Record<string, number>;
  } {
    const cpu = perProcess(this.pids, processorTime);
    const after = perProcess(this.pids, activity);
    for (const name of Object.keys(cpu)) {
      cpu[name] -= this.cpuBefore[name];
      after[name] = difference(after[name], this.activityBefore[name]);
    }
    return { cpu, activity: after, memory: perProcess(this.pids, residentMemory) };
  }
}

const difference = (after: Activity, before: Activity): Activity => ({
  userTicks: after.userTicks - before.userTicks,
  systemTicks: after.systemTicks - before.systemTicks,
  reads: after.reads - before.reads,
  writes: after.writes - before.writes,
  waits: after.waits - before.waits,
});

function perProcess<T>(
  pids: Readonly<Record<string, number>>,
  measure: (pid: number) => T,
): Record<string, T> {
  return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, measure(pid)]));
}
