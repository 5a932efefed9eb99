import type { TimelineStats } from "./stats.js";

/** Reads of the log's end, shared by those who wait for one. */
export class Syncs {
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  constructor(
    /** Reads the log's end and folds up to it. */
    private readonly read: () => Promise<void>,
    private readonly stats: TimelineStats,
  ) {}

  /**
   * A read that begins after this call. A call may join one only while it has not been sent: the end must be read after the
   * call began.
   */
  join(): Promise<void> {
    if (this.next !== undefined) return this.next;
    if (this.running === undefined) return this.start();
    const next = this.running
      .catch(() => {})
      .then(() => {
        this.next = undefined;
        return this.start();
      });
    this.next = next;
    return next;
  }

  private start(): Promise<void> {
    const since = performance.now();
    const running = this.read().then(
      () => {
        if (this.running === running) this.running = undefined;
        this.stats.syncs.observe(performance.now() - since);
      },
      (error) => {
        if (this.running === running) this.running = undefined;
        this.stats.syncsFailed++;
        throw error;
      },
    );
    this.running = running;
    return running;
  }
}
