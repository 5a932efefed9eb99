import type { Runtime } from "../turn/runtime.js";
import type { History } from "./history.js";
import type { WatchStats } from "./stats.js";
import type { Watcher } from "./watcher.js";

/** What `CatchUp` needs from the watch loop. */
export interface CatchUpDeps {
  readonly history: History;
  readonly stats: WatchStats;
  readonly runtime: Runtime;
  /** Called when the watcher has read what it could. It continues from its `next`. */
  place(watcher: Watcher): void;
  /** Called when the watcher needs revisions that are older than the history. */
  tooOld(watcher: Watcher): void;
  /** Called when watermarks may have risen. */
  progressed(): void;
}

/** Revisions that one watcher reads in a turn of the event loop. */
const WATCHER_REVISIONS = 1_000;
/** Revisions that all watchers together read in a turn. */
const TURN_REVISIONS = 20_000;

/** Watchers that read the history, some in each turn of the event loop. Excludes those whose clients must read first. */
export class CatchUp {
  private readonly behind = new Set<Watcher>();
  /** Cancels the scheduled turn, if there is one. */
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
    let budget = TURN_REVISIONS;
    for (const watcher of [...behind]) {
      if (budget <= 0) break;
      // An earlier watcher of the same stream may have cancelled this one, or filled the stream.
      if (!behind.delete(watcher) || watcher.outlet.blocked) continue;
      const from = watcher.next;
      if (from < history.firstFor(watcher.wantsPrevKv)) {
        deps.tooOld(watcher);
        continue;
      }
      const to = Math.min(history.end, from + WATCHER_REVISIONS);
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
