import { Code, StatusError } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";

/** How long the log's watch may lag behind what is known to be in the log before it is opened anew, ms; doubled each time. */
const WATCH_LAG_MS = 500;
/** How often it is opened anew for one waiter before that gives up. */
const MAX_REOPENINGS = 2;

/** Those who wait until something has been folded. */
export class Waiters {
  private waiting: Waiting[] = [];
  /** The watch was opened anew a moment ago, for whoever waits. */
  private reopened = false;

  constructor(
    private readonly runtime: Runtime,
    /** Opens the log's watch anew: it seems to have fallen silent. */
    private readonly reopenWatch: () => void,
  ) {}

  get size(): number {
    return this.waiting.length;
  }

  /** Resolves when `done()` holds after some fold; opens the watch anew, then rejects, when nothing comes. */
  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      let reopenings = 0;
      let cancel: () => void;
      const waiting: Waiting = {
        done,
        settle: (error) => {
          cancel();
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      const expire = () => {
        if (reopenings < MAX_REOPENINGS) {
          this.reopen();
          cancel = this.runtime.timer(WATCH_LAG_MS << ++reopenings, expire);
          return;
        }
        this.waiting = this.waiting.filter((other) => other !== waiting);
        reject(new StatusError(Code.UNAVAILABLE, "etcd-braid: the timeline host does not deliver its log"));
      };
      cancel = this.runtime.timer(WATCH_LAG_MS, expire);
      this.waiting.push(waiting);
    });
  }

  private reopen(): void {
    if (this.reopened) return;
    this.reopened = true;
    this.runtime.timer(WATCH_LAG_MS, () => {
      this.reopened = false;
    });
    this.reopenWatch();
  }

  /** Something has been folded. */
  advanced(): void {
    const ready = this.waiting.filter((waiting) => waiting.done());
    if (ready.length === 0) return;
    this.waiting = this.waiting.filter((waiting) => !ready.includes(waiting));
    for (const waiting of ready) waiting.settle();
  }

  rejectAll(error: StatusError): void {
    for (const waiting of this.waiting.splice(0)) waiting.settle(error);
  }
}

interface Waiting {
  readonly done: () => boolean;
  /** Called once, after it was taken from the list. */
  settle(error?: StatusError): void;
}
