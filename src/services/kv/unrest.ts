/** How long scans read at a known cut after writes were met, ms. */
const UNREST = 100;

/** Tells whether writes were met between the shards' answers to a scan not long ago. */
export class Unrest {
  private until = 0;

  get isOver(): boolean {
    return performance.now() >= this.until;
  }

  begin(): void {
    this.until = performance.now() + UNREST;
  }
}
