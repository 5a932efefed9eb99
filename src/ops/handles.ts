import { readFileSync } from "node:fs";

/** Handles that a proxy needs for itself: code, logs, certificates, and 100 connections while they are refused. */
const OWN_HANDLES = 200;
/** The least with which a proxy starts. */
const MIN_HANDLES = 256;

/** How many files and connections this process may have open; undefined where the system does not say (only Linux does). */
export function handleLimit(): number | undefined {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

/** How many clients' connections `limit` handles allow; `endpoints` is the number of backends' endpoints. */
export function connectionRoom(limit: number | undefined, endpoints: number): number {
  if (limit === undefined) return Number.POSITIVE_INFINITY;
  // One connection for calls and one for a member that is being left or tried.
  return limit - OWN_HANDLES - 2 * endpoints;
}

/** True for the error of a process or system that has no file handle left. */
export function isOutOfHandles(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EMFILE" || code === "ENFILE";
}

/** What an operator has to do about it. */
export function tooFewHandles(limit: number | undefined): string {
  const given = limit === undefined ? "" : ` (${limit})`;
  return (
    `the limit of open files${given} is too low: at least ${MIN_HANDLES} and one for each connection are needed; ` +
    "raise it with `ulimit -n`, or LimitNOFILE= in a systemd unit"
  );
}
