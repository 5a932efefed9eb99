import type { Runtime } from "../turn/runtime.js";
import type { Flow } from "./flow.js";

/**
 * Runs pieces of work at the same time, up to a number of works, and of keys that they name. Works that name the same key run
 * one after the other, in the order of the calls. After a failure, no further work begins.
 *
 * Once a limit is reached, half of the works end before the next ones begin. So their requests leave together, which costs
 * both sides much less than a request for each response.
 */
export class Pipeline {
  private running = 0;
  /** True from when a limit is reached until half of the work has ended. */
  private isFull = false;
  private readonly busy = new Set<string>();
  private waiting: (() => void)[] = [];
  private failure: { readonly error: unknown } | undefined;

  constructor(
    private readonly limit: number,
    private readonly flow: Flow,
    private readonly runtime: Pick<Runtime, "now">,
  ) {}

  /** Resolves when the work has begun. Rejects with the failure of an earlier one. For one caller at a time for each key. */
  async run(keys: readonly string[], work: () => Promise<void>): Promise<void> {
    while (this.failure === undefined && (this.isFull || keys.some((key) => this.busy.has(key)))) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    this.check();
    this.running++;
    for (const key of keys) this.busy.add(key);
    if (this.running >= this.limit || this.busy.size >= this.flow.keys) this.isFull = true;
    const since = this.runtime.now();
    void work()
      .then(() => this.flow.learn(this.runtime.now() - since, keys.length))
      .catch((error) => {
        this.failure ??= { error };
      })
      .finally(() => {
        this.running--;
        for (const key of keys) this.busy.delete(key);
        if (this.running <= this.limit >> 1 && this.busy.size <= this.flow.keys / 2) this.isFull = false;
        this.wake();
      });
  }

  /** Resolves when all work has ended. Rejects with the first failure, once nothing runs any more. */
  async drain(): Promise<void> {
    while (this.running > 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.check();
  }

  private check(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }

  private wake(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }
}
