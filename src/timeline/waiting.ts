import { Code, StatusError } from "../status/error.js";
import type { Runtime } from "./host.js";

/** How long the log's watch may lag behind what is known to be in the log before it is opened anew, ms. */
const WATCH_PATIENCE = 2_000;

/** Those who wait until something has been folded. */
export class Waiters {
  private waiting: Waiting[] = [];

  constructor(
    private readonly runtime: Runtime,
    /** Opens the log's watch anew: it seems to have fallen silent. */
    private readonly reopen: () => void,
  ) {}

  get size(): number {
    return this.waiting.length;
  }

  /** Resolves when `done()` holds after some fold; opens the watch anew, then rejects, when nothing comes. */
  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      let patience = 2;
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
        if (--patience > 0) {
          this.reopen();
          cancel = this.runtime.timer(WATCH_PATIENCE, expire);
          return;
        }
        this.waiting = this.waiting.filter((other) => other !== waiting);
        reject(new StatusError(Code.UNAVAILABLE, "etcd-braid: the timeline host does not deliver its log"));
      };
      cancel = this.runtime.timer(WATCH_PATIENCE, expire);
      this.waiting.push(waiting);
    });
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
