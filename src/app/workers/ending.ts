/** How a worker process ended. */
export interface Ending {
  readonly code?: number | undefined;
  readonly signal?: string | undefined;
  /** Why it could not be started. */
  readonly error?: string | undefined;
}

/** Signals of a crash. */
const CRASHES: ReadonlySet<string> = new Set(["SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP"]);

/** Advice about an ending that the worker could not log itself; undefined for other endings. */
export function adviceOn({ signal, error }: Ending): string | undefined {
  if (error !== undefined)
    return "check the limits of processes and open files, and that the Node.js executable still exists";
  if (signal === undefined) return undefined;
  if (signal === "SIGKILL") {
    return "the system sends this when memory runs out: check its log (dmesg) and the memory limit of the service";
  }
  if (CRASHES.has(signal)) return "Node.js crashed: its output on standard error says why";
  return "another process sent it to the worker; to stop the proxy, send it to the process that runs `braid serve`";
}

/** Why the first worker did not start to serve; undefined if the worker itself has logged the reason. */
export function whyNotServing(worker: number, ending: Ending): string | undefined {
  const { code, signal, error } = ending;
  const advice = adviceOn(ending);
  if (error !== undefined) return `worker ${worker} could not be started: ${error}; ${advice}`;
  if (signal !== undefined) return `worker ${worker} was killed by ${signal} before it served; ${advice}`;
  return code === 0 ? `worker ${worker} ended before it served` : undefined;
}
