import type { KeyedEvent } from "./history.js";
import { RangeIndex } from "./rangeIndex.js";
import type { Watcher } from "./watcher.js";

/** Hands events to the watchers whose ranges they are in; each gets its share of a batch in one go. */
export class Fanout {
  private readonly index = new RangeIndex<Watcher>();
  private readonly watchers = new Set<Watcher>();
  private touched: Watcher[] = [];

  get size(): number {
    return this.watchers.size;
  }

  add(watcher: Watcher): void {
    this.watchers.add(watcher);
    this.index.add(watcher.range, watcher);
  }

  remove(watcher: Watcher): void {
    this.watchers.delete(watcher);
    this.index.remove(watcher.range, watcher);
  }

  has(watcher: Watcher): boolean {
    return this.watchers.has(watcher);
  }

  /** All of them, as they are now. */
  members(): Watcher[] {
    return [...this.watchers];
  }

  /** Adds a revision's events to the batch. */
  offer(revision: number, events: readonly KeyedEvent[], eligible?: (watcher: Watcher) => boolean): void {
    for (const keyed of events) {
      this.index.find(keyed.key, (watcher) => {
        if (eligible !== undefined && !eligible(watcher)) return;
        if (watcher.offer(revision, keyed.event)) this.touched.push(watcher);
      });
    }
  }

  /**
   * Ends the batch, which covers all revisions up to `covered`, or up to where it says for a watcher. Answers the
   * watchers that could not take theirs.
   */
  flush(covered: number | ((watcher: Watcher) => number)): Watcher[] {
    if (this.touched.length === 0) return [];
    const { touched } = this;
    this.touched = [];
    const now = performance.now();
    if (typeof covered === "number") return touched.filter((watcher) => !watcher.flush(covered, now));
    return touched.filter((watcher) => !watcher.flush(covered(watcher), now));
  }
}
