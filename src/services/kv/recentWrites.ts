/** How long scans read at a known cut after they have met concurrent writes, in milliseconds. */
const RECENT_MS = 100;

/** Whether scans have recently met writes that came between the shards' answers. */
export class RecentWrites {
  private until = 0;

  get any(): boolean {
    return performance.now() < this.until;
  }

  /** Records that a scan has met such a write. */
  note(): void {
    this.until = performance.now() + RECENT_MS;
  }
}
