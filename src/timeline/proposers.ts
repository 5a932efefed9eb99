/** A proxy counts as alive for this long after its last entry, in milliseconds. */
const ALIVE_MS = 60_000;

/** The processes that append entries to the log, as a proxy that follows it sees them. */
export class Proposers {
  /** Process → when its last entry was folded here. */
  private readonly seen = new Map<string, number>();

  /** Notes an entry of `proxy`. `now` is in milliseconds, as for `count`. */
  note(proxy: string, now: number): void {
    this.seen.set(proxy, now);
  }

  /** Number of processes, without `own`, that have appended in the last minute. */
  others(own: string, now: number): number {
    for (const [proxy, at] of this.seen) if (now - at > ALIVE_MS) this.seen.delete(proxy);
    return this.seen.size - (this.seen.has(own) ? 1 : 0);
  }
}
