import { beforeDeparture } from "./departures.js";

/** Time and randomness. The simulation replaces them. */
export interface Runtime {
  /** Milliseconds since an arbitrary moment. Monotonic; for durations. */
  now(): number;
  /** Whole milliseconds since the epoch. May jump; for deadlines and ids. */
  date(): number;
  /**
   * Calls `fn` after `ms` milliseconds. Returns a function that cancels the timer. A `background` timer does not keep the
   * process running.
   */
  timer(ms: number, fn: () => void, background?: boolean): () => void;
  /** Like `timer`, but calls `fn` every `ms` milliseconds. */
  interval(ms: number, fn: () => void, background?: boolean): () => void;
  /** Calls `fn` after the input of this turn of the event loop was handled and before its output is sent. */
  soon(fn: () => void): void;
  /** Calls `fn` in the next turn of the event loop. Returns a function that cancels it. */
  later(fn: () => void): () => void;
  /** Returns a uniform random number in [0, 1). */
  random(): number;
}

/** The runtime outside of simulations. */
export const systemRuntime: Runtime = {
  now: () => performance.now(),
  date: () => Date.now(),
  timer(ms, fn, background = false) {
    const handle = setTimeout(fn, ms);
    if (background) handle.unref();
    return () => clearTimeout(handle);
  },
  interval(ms, fn, background = false) {
    const handle = setInterval(fn, ms);
    if (background) handle.unref();
    return () => clearInterval(handle);
  },
  soon: beforeDeparture,
  later(fn) {
    const handle = setImmediate(fn);
    return () => clearImmediate(handle);
  },
  random: () => Math.random(),
};
