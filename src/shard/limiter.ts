import { etcd } from "../status/etcd.js";

/** Limits the concurrency of expensive operations. A few run at the same time, some wait, and others are refused. */
export class Limiter {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly maxRunning: number,
    private readonly maxWaiting: number,
  ) {}

  /** Runs `act`, after waiting if necessary. Rejects with etcd's `too many requests` if too many wait already. */
  async run<T>(act: () => Promise<T>): Promise<T> {
    if (this.running < this.maxRunning) this.running++;
    else if (this.waiting.length < this.maxWaiting) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else {
      throw etcd.tooManyRequests();
    }
    try {
      return await act();
    } finally {
      // The next one that waits takes over the slot.
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }
}
