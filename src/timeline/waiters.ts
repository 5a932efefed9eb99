import { Code, StatusError } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";

/** How long the watch of the log may lag before it is reopened. Doubles each time. */
const WATCH_LAG_MS = 500;
/** How often the watch is reopened for one waiter before the waiter is rejected. */
const MAX_REOPENINGS = 2;

/** Waiters for conditions that some fold will fulfil. */
export class Waiters {
  private waiting: Waiting[] = [];
  /** True for a while after the watch was reopened, which serves all waiters. */
  private reopened = false;

  constructor(
    private readonly runtime: Runtime,
    /** Reopens the watch of the log, which seems to be stuck. */
    private readonly reopenWatch: () => void,
    /** Name of the host in errors; see `LogHost.label`. */
    private readonly host: () => string,
  ) {}

  get size(): number {
    return this.waiting.length;
  }

  /**
   * Resolves when `done()` holds after a fold. While that does not happen, reopens the watch up to `MAX_REOPENINGS` times,
   * then rejects with UNAVAILABLE.
   */
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
        reject(notDelivered(this.host()));
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

  /** Checks all conditions. To be called after each fold. */
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

function notDelivered(host: string): StatusError {
  const name = host === "it" ? "" : ` (${host})`;
  return new StatusError(Code.UNAVAILABLE, `etcd-braid: the timeline host${name} does not deliver its log`);
}

interface Waiting {
  readonly done: () => boolean;
  /** Called once, after removal from the list. */
  settle(error?: StatusError): void;
}
