import type { Random, Scheduler } from "../../timeline/sim/scheduler.js";

/** A request or its response was lost. It is unknown whether the call took effect. */
export class Lost extends Error {}

export interface Faults {
  /** Probability that a request or its response is lost. */
  readonly loss: number;
  /** Longest pause of a proxy, in milliseconds. */
  readonly pause: number;
  /** Longest delay with which a proxy follows the log and the shards, in milliseconds. */
  readonly lag: number;
  /** Probability that a message takes up to 400 ms. */
  readonly slow: number;
  /** Longest delay of a mover between the parts of a step, in milliseconds. */
  readonly hesitation: number;
}

/** The connections and clock of one proxy: delays, lost messages, pauses, and silence after its death. */
export class Network {
  alive = true;
  private pausedUntil = 0;
  private restUntil = 0;
  private held: Promise<void> | undefined;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly random: Random,
    public faults: Faults,
  ) {}

  /** Suspends the process for `ms` milliseconds. Messages in flight still arrive. It then runs for at least as long. */
  pause(ms: number): void {
    if (this.scheduler.now < this.restUntil) return;
    this.pausedUntil = this.scheduler.now + ms;
    this.restUntil = this.pausedUntil + ms;
  }

  /** Holds requests back until the returned function is called. */
  hold(): () => void {
    let release = () => {};
    this.held = new Promise((resolve) => {
      release = () => {
        this.held = undefined;
        resolve();
      };
    });
    return () => release();
  }

  /** Runs `work` at the receiver after a delay. Resolves after another delay; rejects with `Lost` when a message is lost. */
  call<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const lose = () => this.after(20 + this.random.below(50), () => reject(new Lost()));
      if (this.random.chance(this.faults.loss)) {
        // The request never arrives, or long after the sender has given up.
        if (this.random.chance(0.5)) this.scheduler.after(this.random.below(800), () => attempt(work));
        return lose();
      }
      const { held } = this;
      const execute = () => {
        let settle: () => void;
        try {
          const result = work();
          settle = () => resolve(result);
        } catch (error) {
          settle = () => reject(error);
        }
        if (this.random.chance(this.faults.loss)) return lose();
        this.after(this.delay(), settle);
      };
      if (held === undefined) this.scheduler.after(this.delay(), execute);
      else void held.then(execute);
    });
  }

  /** Calls until a response arrives. For calls that may be repeated. */
  async retry<T>(work: () => T): Promise<T> {
    for (;;) {
      try {
        return await this.call(work);
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
      }
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  private after(ms: number, run: () => void): void {
    this.scheduler.after(ms, () => {
      if (!this.alive) return;
      const wait = this.pausedUntil - this.scheduler.now;
      if (wait > 0) this.after(wait, run);
      else run();
    });
  }

  /** Mostly short, sometimes long enough to reorder messages. */
  private delay(): number {
    if (this.random.chance(this.faults.slow)) return this.random.below(400);
    return this.random.chance(0.1) ? this.random.below(60) : this.random.below(6);
  }
}

function attempt(work: () => unknown): void {
  try {
    work();
  } catch {
    // The sender has given up.
  }
}
