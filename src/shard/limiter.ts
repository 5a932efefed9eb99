import { etcd } from "../status/etcd.js";

/** Lets a few of those that load a shard run at the same time, and some wait; refuses the others. */
export class Turns {
  private acting = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly maxActing: number,
    private readonly maxWaiting: number,
  ) {}

  /** Runs `act` when it is its turn; rejects with etcd's RESOURCE_EXHAUSTED when too many wait already. */
  async run<T>(act: () => Promise<T>): Promise<T> {
    if (this.acting < this.maxActing) this.acting++;
    else if (this.waiting.length < this.maxWaiting) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else {
      throw etcd.tooManyRequests();
    }
    try {
      return await act();
    } finally {
      // A turn that another waits for goes straight to it.
      const next = this.waiting.shift();
      if (next === undefined) this.acting--;
      else next();
    }
  }
}
