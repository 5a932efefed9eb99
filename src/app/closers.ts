/** What has been opened so far, to be closed in the opposite order. */
export class Closers {
  private readonly stack: (() => unknown)[] = [];

  add(close: () => unknown): void {
    this.stack.push(close);
  }

  /** Closes all, the newest first, one after the other. Rejects with the first failure once all have been closed. */
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
