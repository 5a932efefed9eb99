// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import type { StatusError } from "../status/error.js";
import { turnTime } from "../turn/clock.js";
import type { TimelineStats } from "./stats.js";
import type { Sealed, TimelineView } from "./view.js";

/** Calls that wait until shard revisions are sealed. */
export class SealWaiters {
  /** By shard. */
  private readonly waiters: SealWaiter[][];

  constructor(
    shardCount: number,
    private readonly stats: TimelineStats,
  ) {
    this.waiters = Array.from({ length: shardCount }, () => []);
  }

  /** Calls `done` once, when `settle` finds that the shard revision is sealed, or with the error of `rejectAll`. */
  add(shard: number, shardRevision: number, done: Sealed): void {
    // A plan may have added the shard since.
    while (shard >= this.waiters.length) this.waiters.push([]);
    this.waiters[shard]!.push({ shardRevision, since: turnTime(), done });
  }

  /** Ends the waits for what is sealed in `view`. */
  settle(view: Pick<TimelineView, "cut">): void {
    for (let shard = 0; shard < this.waiters.length; shard++) {
      const waiters = this.waiters[shard]!;
      if (waiters.length === 0) continue;
      const cut = view.cut(shard);
      const sealed: SealWaiter[] = [];
      let kept = 0;
      for (const waiter of waiters) {
        if (waiter.shardRevision <= cut) sealed.push(waiter);
        else waiters[kept++] = waiter;
      }
      waiters.length = kept;
      const now = turnTime();
      // Not before the list is updated: a callback may add waiters.
      for (const { since, done } of sealed) {
        this.stats.seals.observe(now - since);
        done(undefined);
      }
    }
  }

  rejectAll(error: StatusError): void {
    for (const { done } of this.waiters.flatMap((list) => list.splice(0))) done(error);
  }
}

interface SealWaiter {
  readonly shardRevision: number;
  readonly done: Sealed;
  /** `turnTime()` when the wait began. */
  readonly since: number;
}
