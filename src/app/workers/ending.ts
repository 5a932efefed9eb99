/** How a worker process came to its end. */
export interface Ending {
  readonly code?: number | undefined;
  readonly signal?: string | undefined;
  /** Why it could not even be started. */
  readonly error?: string | undefined;
}

/** Signals that a process sends itself when it cannot go on. */
const CRASHES: ReadonlySet<string> = new Set(["SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP"]);

/** What to do about an ending that the worker itself could not explain; undefined where it had the chance to. */
export function adviceOn({ signal, error }: Ending): string | undefined {
  if (error !== undefined)
    return "check the limits of processes and open files, and that Node.js is still where it was";
  if (signal === undefined) return undefined;
  if (signal === "SIGKILL") {
    return "it is what the system sends when memory runs out: see its log (dmesg), and the memory limit of the service";
  }
  if (CRASHES.has(signal)) return "Node.js crashed: what it wrote on standard error says why";
  return "somebody sent it to the worker; to stop the proxy, send it to the process that runs `braid serve`";
}

/** Why the first worker never served, for people; undefined when it has said so itself. */
export function whyNotServing(worker: number, ending: Ending): string | undefined {
  const { code, signal, error } = ending;
  const advice = adviceOn(ending);
  if (error !== undefined) return `worker ${worker} could not be started: ${error}; ${advice}`;
  if (signal !== undefined) return `worker ${worker} was killed by ${signal} before it served; ${advice}`;
  return code === 0 ? `worker ${worker} ended before it served` : undefined;
}
