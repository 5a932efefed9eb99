import { beforeDeparture } from "./departures.js";

/** Time and chance. The simulation replaces them. */
export interface Runtime {
  /** Milliseconds since some moment in the past. Never goes back; for durations. */
  now(): number;
  /** Milliseconds since the epoch, a whole number. May jump; for deadlines and ids. */
  date(): number;
  /**
   * Calls `fn` after `ms` milliseconds. A `background` timer does not keep the process running. Returns a function that
   * cancels it.
   */
  timer(ms: number, fn: () => void, background?: boolean): () => void;
  /** Calls `fn` every `ms` milliseconds, otherwise like `timer`. */
  interval(ms: number, fn: () => void, background?: boolean): () => void;
  /** Calls `fn` once the input of this turn of the event loop has been handled, before its output leaves. */
  soon(fn: () => void): void;
  /** Calls `fn` in the next turn of the event loop. Returns a function that cancels it. */
  later(fn: () => void): () => void;
  /** Uniform in [0, 1). */
  random(): number;
}

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
