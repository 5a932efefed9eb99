import type { Runtime } from "../turn/runtime.js";
import type { History } from "./history.js";
import type { WatchStats } from "./stats.js";
import type { Watcher } from "./watcher.js";

/** What catching up needs of the hub. */
export interface CatchUpDeps {
  readonly history: History;
  readonly stats: WatchStats;
  readonly runtime: Runtime;
  /** The watcher has read what it could and goes on from its `next`. */
  place(watcher: Watcher): void;
  /** The history does not reach back to what the watcher needs. */
  tooOld(watcher: Watcher): void;
  /** Watchers may have come further. */
  progressed(): void;
}

/** Revisions that one watcher, and all together, read before others have their turn. */
const SLICE = 1_000;
const REVISIONS = 20_000;

/** Watchers that read the history, in turns. Without those whose clients have to take something first. */
export class CatchUp {
  private readonly behind = new Set<Watcher>();
  /** Set while a turn is scheduled; takes that back. */
  private unschedule: (() => void) | undefined;

  constructor(private readonly deps: CatchUpDeps) {}

  add(watcher: Watcher): void {
    this.behind.add(watcher);
    this.unschedule ??= this.deps.runtime.later(() => {
      this.unschedule = undefined;
      this.read();
    });
  }

  remove(watcher: Watcher): void {
    this.behind.delete(watcher);
  }

  close(): void {
    this.unschedule?.();
  }

  private read(): void {
    const { behind, deps } = this;
    const { history } = deps;
    let budget = REVISIONS;
    for (const watcher of [...behind]) {
      if (budget <= 0) break;
      // A watcher of the same stream that was served before may have cancelled it, or filled the stream.
      if (!behind.delete(watcher) || watcher.outlet.blocked) continue;
      const from = watcher.next;
      if (from < history.firstFor(watcher.wantsPrevKv)) {
        deps.tooOld(watcher);
        continue;
      }
      const to = Math.min(history.end, from + SLICE);
      budget -= Math.max(1, to - from);
      deps.stats.historyReads++;
      const { begin, end } = watcher.range;
      for (let revision = from; revision < to; revision++) {
        for (const { key, event } of history.at(revision)) {
          if (begin <= key && key < end) watcher.offer(revision, event);
        }
      }
      const sent = watcher.flush(to - 1);
      if (watcher.state !== "lagging" || !sent) continue;
      deps.place(watcher);
    }
    const [first] = behind;
    if (first !== undefined) this.add(first);
    deps.progressed();
  }
}
