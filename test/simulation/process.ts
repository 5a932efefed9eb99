import { EPOCH } from "../timeline/sim/runtime.js";
import type { Scheduler } from "../timeline/sim/scheduler.js";

/**
 * One process in virtual time, which may pause (SIGSTOP, a long garbage collection) or die. Timers that are due during a
 * pause run after it, in order; after death they never run.
 */
export class ProcessClock implements Pick<Scheduler, "now" | "after"> {
  isAlive = true;
  private stoppedUntil = 0;
  private readonly due: (() => void)[] = [];

  constructor(readonly world: Scheduler) {}

  get now(): number {
    return this.world.now;
  }

  /** Milliseconds since the epoch. */
  get date(): number {
    return EPOCH + Math.floor(this.world.now);
  }

  /** Pauses it for `ms` milliseconds. */
  stop(ms: number): void {
    this.stoppedUntil = Math.max(this.stoppedUntil, this.now + ms);
  }

  resume(): void {
    this.stoppedUntil = this.now;
  }

  after(ms: number, fn: () => void): () => void {
    let cancelled = false;
    const step = () => {
      if (!cancelled) fn();
    };
    const cancel = this.world.after(ms, () => {
      if (cancelled || !this.isAlive) return;
      if (this.now >= this.stoppedUntil && this.due.length === 0) {
        fn();
        return;
      }
      this.due.push(step);
      if (this.due.length === 1) this.goOn();
    });
    return () => {
      cancelled = true;
      cancel();
    };
  }

  /** Runs what became due during the pause, in order. */
  private goOn(): void {
    this.world.after(Math.max(0, this.stoppedUntil - this.now), () => {
      if (!this.isAlive) return;
      if (this.now >= this.stoppedUntil) this.due.shift()?.();
      if (this.due.length > 0) this.goOn();
    });
  }
}
