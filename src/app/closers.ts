/** Closes what has been opened so far, in the opposite order. */
export class Closers {
  private readonly stack: (() => unknown)[] = [];

  add(close: () => unknown): void {
    this.stack.push(close);
  }

  /** Closes everything, the newest first, one after the other. Rejects with the first failure after all are closed. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (let close = this.stack.pop(); close !== undefined; close = this.stack.pop()) {
      try {
        await close();
      } catch (failure) {
        failures.push(failure);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
