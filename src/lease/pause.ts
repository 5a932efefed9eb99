import type { Runtime } from "../turn/runtime.js";

/** Resolves after `ms` milliseconds, immediately if that is not above 0. Does not keep the process running. */
export function pause(runtime: Runtime, ms: number): Promise<void> {
  return new Promise((resolve) => {
    if (ms <= 0) resolve();
    else runtime.timer(ms, resolve, true);
  });
}
