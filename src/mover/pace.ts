import type { Runtime } from "../turn/runtime.js";

/** Node.js' timers take no more than about 25 days. */
const MAX_SLEEP_MS = 3_600_000;

/** Timers are late. A wait that was too long by up to so many milliseconds does not lower the rate. */
const CREDIT_MS = 20;

/** How much of a key's time under a limit each part of its move may take: together 1, so that the load is even. */
export const SHARES = { copy: 0.5, compare: 0.25, delete: 0.25 } as const;

/** Limits the rate at which keys move. */
export class Pace {
  private rate = Number.POSITIVE_INFINITY;
  /** When the keys so far are used up, by `Runtime.now`. */
  private busyUntil = 0;
  private isReleased = false;
  private readonly waiting = new Set<() => void>();

  constructor(private readonly runtime: Pick<Runtime, "now" | "timer">) {}

  /** Most keys per second; Infinity: no limit. A change also applies to those who wait. */
  get keysPerSecond(): number {
    return this.rate;
  }

  set keysPerSecond(rate: number) {
    const now = this.runtime.now();
    const ahead = this.busyUntil - now;
    if (ahead > 0) this.busyUntil = now + ahead * (this.rate / rate);
    this.rate = rate;
    this.wakeAll();
  }

  /** Resolves when the part `share` of `keys` more moves may be done. */
  async take(keys: number, share = 1): Promise<void> {
    for (let credit = 0; ; credit = CREDIT_MS) {
      const now = this.runtime.now();
      const wait = this.busyUntil - now;
      if (wait <= 0 || this.isReleased) {
        this.busyUntil = Math.max(now - credit, this.busyUntil) + ((keys * share) / this.rate) * 1_000;
        return;
      }
      await this.sleep(Math.min(wait, MAX_SLEEP_MS));
    }
  }

  /** Lets everyone go on who waits now or later. */
  release(): void {
    this.isReleased = true;
    this.wakeAll();
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        this.waiting.delete(wake);
        resolve();
      };
      const cancel = this.runtime.timer(ms, wake);
      this.waiting.add(wake);
    });
  }

  private wakeAll(): void {
    for (const wake of [...this.waiting]) wake();
  }
}
