/** Seeded randomness (mulberry32): the same seed gives the same run. */
export class Random {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** Integer in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }
}

interface Task {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** Virtual time. Runs one task at a time, and lets all promises settle in between. */
export class Scheduler {
  now = 0;
  private order = 0;
  private readonly heap: Task[] = [];

  /** In whole milliseconds, as timers do: fractions could turn the order of two tasks of one moment round. */
  after(ms: number, run: () => void): () => void {
    const task: Task = {
      at: this.now + Math.ceil(Math.max(0, ms)),
      order: this.order++,
      run,
      cancelled: false,
    };
    this.push(task);
    return () => {
      task.cancelled = true;
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  /** Runs until `done()` holds. Throws when no task is left, or after `limit` milliseconds of virtual time. */
  async runUntil(done: () => boolean, limit: number): Promise<void> {
    while (!done()) {
      const task = this.pop();
      if (task === undefined || task.at > limit) throw new Error(`the simulation hangs at ${this.now} ms`);
      if (task.cancelled) continue;
      this.now = task.at;
      task.run();
      await new Promise(setImmediate);
    }
  }

  private push(task: Task): void {
    const { heap } = this;
    heap.push(task);
    let at = heap.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (before(heap[parent], heap[at])) break;
      [heap[parent], heap[at]] = [heap[at], heap[parent]];
      at = parent;
    }
  }

  private pop(): Task | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (heap.length > 0 && last !== undefined) {
      heap[0] = last;
      let at = 0;
      for (;;) {
        let least = at;
        for (const child of [2 * at + 1, 2 * at + 2]) {
          if (child < heap.length && before(heap[child], heap[least])) least = child;
        }
        if (least === at) break;
        [heap[least], heap[at]] = [heap[at], heap[least]];
        at = least;
      }
    }
    return top;
  }
}

const before = (a: Task, b: Task): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
