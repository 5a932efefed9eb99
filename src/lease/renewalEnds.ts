import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import { pause } from "./pause.js";

/** Least time between the begins of two reads, in milliseconds. */
const INTERVAL_MS = 20;
/** How long a keep-alive waits for the host, in milliseconds. A lease of two seconds, the shortest of etcd, survives that. */
const PATIENCE_MS = 1_000;

/**
 * Reads of the log's end before keep-alives. A proxy that lags behind the log does not know of a part that another proxy has
 * placed. If it answered a keep-alive without renewing that part, the lease would end before the time that it answered.
 *
 * Keep-alives are frequent and not urgent, so one read serves all that arrive within an interval. A keep-alive alone waits for no
 * other.
 */
export class RenewalEnds {
  /** The read that has not begun yet. */
  private next: Promise<void> | undefined;
  private begun = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly timeline: Pick<Timeline, "sync" | "isHostAway">,
    private readonly runtime: Runtime,
  ) {}

  /**
   * Resolves when the log is folded up to an end that was read after this call. Also resolves when the host does not answer: then
   * nothing is placed, and leases must live on.
   */
  read(): Promise<void> {
    this.next ??= this.begin();
    return this.next;
  }

  private async begin(): Promise<void> {
    await pause(this.runtime, this.begun + INTERVAL_MS - this.runtime.now());
    this.next = undefined;
    this.begun = this.runtime.now();
    const read = this.timeline.sync().catch(() => undefined);
    if (!this.timeline.isHostAway) await Promise.race([read, pause(this.runtime, PATIENCE_MS)]);
  }
}
