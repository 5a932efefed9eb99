/** A proxy counts as alive for this long after its last entry, in milliseconds. */
const ALIVE_MS = 60_000;
/** Processes that are kept before those that count no more are dropped. */
const MAX_SEEN = 256;

/** The processes that append entries to the log, as a proxy that follows it sees them. */
export class Proposers {
  /** Process → when its last entry was folded here. */
  private readonly seen = new Map<string, number>();

  /** Notes an entry of `proxy`. `now` is in milliseconds, as for `count`. */
  note(proxy: string, now: number): void {
    this.seen.set(proxy, now);
    if (this.seen.size > MAX_SEEN) this.prune(now);
  }

  /** Number of processes, without `own`, that have appended in the last minute. */
  others(own: string, now: number): number {
    this.prune(now);
    return this.seen.size - (this.seen.has(own) ? 1 : 0);
  }

  private prune(now: number): void {
    for (const [proxy, at] of this.seen) if (now - at > ALIVE_MS) this.seen.delete(proxy);
  }
}
