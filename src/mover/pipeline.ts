/**
 * Runs pieces of work at the same time, up to a limit. Works that name the same key run one after the other, in the order
 * of the calls. After a failure, no further work begins.
 *
 * Once the limit is reached, half of the works end before the next ones begin. So their requests leave together, which costs
 * both sides much less than a request for each response.
 */
export class Pipeline {
  private running = 0;
  /** True from when the limit is reached until half of the work has ended. */
  private isFull = false;
  private readonly busy = new Set<string>();
  private waiting: (() => void)[] = [];
  private failure: { readonly error: unknown } | undefined;

  constructor(private readonly limit: number) {}

  /** Resolves when the work has begun. Rejects with the failure of an earlier one. For one caller at a time for each key. */
  async run(keys: readonly string[], work: () => Promise<void>): Promise<void> {
    while (this.failure === undefined && (this.isFull || keys.some((key) => this.busy.has(key)))) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    this.check();
    this.running++;
    if (this.running >= this.limit) this.isFull = true;
    for (const key of keys) this.busy.add(key);
    void work()
      .catch((error) => {
        this.failure ??= { error };
      })
      .finally(() => {
        this.running--;
        if (this.running <= this.limit >> 1) this.isFull = false;
        for (const key of keys) this.busy.delete(key);
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
