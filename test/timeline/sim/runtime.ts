import type { Runtime } from "../../../src/turn/runtime.js";
import type { Random, Scheduler } from "./scheduler.js";

/** Where the virtual clock stands at the beginning, ms since the epoch. */
export const EPOCH = Date.UTC(2026, 0, 1);

/** Virtual time and seeded chance of one process, which does nothing any more once `isAlive` is false. */
export function simRuntime(
  scheduler: Pick<Scheduler, "now" | "after">,
  random: Random,
  isAlive: () => boolean,
): Runtime {
  const after = (ms: number, fn: () => void) => scheduler.after(ms, () => isAlive() && fn());
  return {
    now: () => scheduler.now,
    date: () => EPOCH + Math.floor(scheduler.now),
    timer: after,
    interval(ms, fn) {
      let cancel = () => {};
      const arm = () => {
        cancel = after(ms, () => {
          arm();
          fn();
        });
      };
      arm();
      return () => cancel();
    },
    soon: (fn) => void after(0, fn),
    later: (fn) => after(0, fn),
    random: () => random.next(),
  };
}
