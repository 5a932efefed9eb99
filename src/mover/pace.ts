import type { Runtime } from "../turn/runtime.js";

/** Limits the rate at which keys are copied. */
export class Pace {
  /** Most keys per second; Infinity: no limit. May be changed at any time. */
  keysPerSecond = Number.POSITIVE_INFINITY;
  /** When the keys so far are used up, by `Runtime.now`. */
  private busyUntil = 0;

  constructor(private readonly runtime: Pick<Runtime, "now" | "timer">) {}

  /** Resolves when `keys` more keys may be copied. */
  async take(keys: number): Promise<void> {
    if (this.keysPerSecond === Number.POSITIVE_INFINITY) return;
    const now = this.runtime.now();
    const wait = this.busyUntil - now;
    this.busyUntil = Math.max(now, this.busyUntil) + (keys / this.keysPerSecond) * 1_000;
    if (wait > 0) await new Promise<void>((resolve) => this.runtime.timer(wait, resolve));
  }
}
