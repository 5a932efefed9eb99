import type { Random, Scheduler } from "../../timeline/sim/scheduler.js";

/** A request or its answer got lost: it is unknown whether it took effect. */
export class Lost extends Error {}

export interface Faults {
  /** Chance that a request or its answer gets lost. */
  readonly loss: number;
  /** Longest pause of a proxy, ms. */
  readonly pause: number;
  /** How late a proxy may follow the log and its shards, ms. */
  readonly lag: number;
  /** Chance that a message takes up to 400 ms. */
  readonly slow: number;
  /** Longest time that a mover takes between the parts of a step, ms. */
  readonly hesitation: number;
}

/** One proxy's connections and its clock: delays, lost messages, pauses, and silence once the proxy has died. */
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

  /** The process gets no time for so long, ms. What it has sent goes on. Afterwards it runs for as long at least. */
  pause(ms: number): void {
    if (this.scheduler.now < this.restUntil) return;
    this.pausedUntil = this.scheduler.now + ms;
    this.restUntil = this.pausedUntil + ms;
  }

  /** Holds messages back on their way to their receivers until the result is called. */
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

  /** Executes `work` at its receiver some time later; the answer arrives later still, or never. */
  call<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const lose = () => this.after(20 + this.random.below(50), () => reject(new Lost()));
      if (this.random.chance(this.faults.loss)) {
        // Never, or long after the sender has given up.
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

  /** The same for what may be repeated: asks until there is an answer. */
  async ask<T>(work: () => T): Promise<T> {
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

  /** Mostly short, at times long: that is where orders get mixed up. */
  private delay(): number {
    if (this.random.chance(this.faults.slow)) return this.random.below(400);
    return this.random.chance(0.1) ? this.random.below(60) : this.random.below(6);
  }
}

function attempt(work: () => unknown): void {
  try {
    work();
  } catch {
    // Nobody waits for the answer.
  }
}
