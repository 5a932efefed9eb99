import { type Apart, Audience } from "./audience.js";
import type { KeyedEvent } from "./history.js";
import type { Reach } from "./moves.js";
import { RangeIndex } from "./rangeIndex.js";
import type { Watcher } from "./watcher.js";

/** Passes events to the watchers of the ranges that they are in. Each watcher gets its events of a batch at once. */
export class Fanout {
  private readonly index: RangeIndex<Audience>;
  private watchers = 0;
  private touched: Audience[] = [];

  /** `random` is uniform in [0, 1). */
  constructor(random: () => number) {
    this.index = new RangeIndex(random);
  }

  /** Number of watchers. */
  get size(): number {
    return this.watchers;
  }

  add(watcher: Watcher): void {
    let audience = this.index.get(watcher.range);
    if (audience === undefined) {
      audience = new Audience(watcher.reach);
      this.index.set(watcher.range, audience);
    }
    audience.members.add(watcher);
    this.watchers++;
  }

  /** Removes a watcher, if it is here. */
  remove(watcher: Watcher): void {
    const audience = this.index.get(watcher.range);
    if (audience === undefined || !audience.members.delete(watcher)) return;
    this.watchers--;
    if (audience.members.size === 0) this.index.delete(watcher.range);
  }

  has(watcher: Watcher): boolean {
    return this.index.get(watcher.range)?.members.has(watcher) === true;
  }

  /** The reach that `offer` and `flush` use for a watcher that is here. Watchers of the same range share it. */
  reachOf(watcher: Watcher): Reach {
    return this.index.get(watcher.range)?.reach ?? watcher.reach;
  }

  /** Returns a copy of the list of watchers. */
  members(): Watcher[] {
    return [...this.index.values()].flatMap(({ members }) => [...members]);
  }

  /** Adds a revision's events to the batch, for watchers of ranges with an `eligible` reach. */
  offer(revision: number, events: readonly KeyedEvent[], eligible?: (reach: Reach) => boolean): void {
    for (const { key, event } of events) {
      this.index.find(key, (audience) => {
        if (eligible !== undefined && !eligible(audience.reach)) return;
        if (audience.offer(revision, event)) this.touched.push(audience);
      });
    }
  }

  /**
   * Ends the batch, which covers all revisions up to `covered`, or up to what `covered` returns for the reach of a range.
   * `apart` has the watchers that were not offered the same events as others of their ranges. Returns the watchers whose
   * clients are too slow.
   */
  flush(covered: number | ((reach: Reach) => number), apart?: Apart): Watcher[] {
    const slow: Watcher[] = [];
    if (this.touched.length === 0) return slow;
    const { touched } = this;
    this.touched = [];
    for (const audience of touched) {
      const upTo = typeof covered === "number" ? covered : covered(audience.reach);
      audience.flush(upTo, slow, apart);
    }
    return slow;
  }
}
