import { readFileSync } from "node:fs";

/** File descriptors that the proxy itself needs: code, logs, certificates, and 100 connections that it is refusing. */
const OWN_HANDLES = 200;
/** The fewest that a command needs to start. */
const MIN_HANDLES = 256;

/** Returns the soft limit of open files and connections of this process; undefined if unknown, as on all but Linux. */
export function handleLimit(): number | undefined {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

/**
 * Returns whether `limit` is too low to run any command. Without a handle left, Node.js takes packages for missing and
 * modules for scripts, so it fails with errors of any kind while it loads code.
 */
export function areTooFewHandles(limit: number | undefined): boolean {
  return limit !== undefined && limit < MIN_HANDLES;
}

/** Returns how many client connections `limit` allows. `endpoints` is the number of endpoints of all backends. */
export function connectionRoom(limit: number | undefined, endpoints: number): number {
  if (limit === undefined) return Number.POSITIVE_INFINITY;
  // Each endpoint may have a connection in use and another that is opening or draining.
  return limit - OWN_HANDLES - 2 * endpoints;
}

/** Returns whether `error` says that the process or the system has no file descriptor left. */
export function isOutOfHandles(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EMFILE" || code === "ENFILE";
}

/** Returns an error text that says how to raise the limit. */
export function tooFewHandles(limit: number | undefined): string {
  const given = limit === undefined ? "" : ` (${limit})`;
  return (
    `the limit of open files${given} is too low: at least ${MIN_HANDLES} and one per connection are needed; ` +
    "raise it with `ulimit -n`, or LimitNOFILE= in a systemd unit"
  );
}
