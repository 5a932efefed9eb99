/** Entries that the host may deliver per second to all proxies that append, before they append less often. */
const DELIVERIES_PER_SECOND = 30_000;
/** Time over which entries are counted. */
const WINDOW_MS = 250;
/** Longest mean pause before an append. */
const MAX_PAUSE_MS = 100;

/**
 * Decides how long a proxy waits before it appends. All proxies watch the log, so what it costs grows with the square of how many
 * append. Each proxy sees in the log how many do, and how often. When that is too much for the host, they wait before they append,
 * each for a random time: the entry of one usually seals what others wait for. Times are in milliseconds.
 */
export class Pace {
  private windowEnd = 0;
  private entries = 0;
  private readonly proxies = new Set<string>();
  private mean = 0;

  /** Counts an entry of any proxy, this one included. */
  note(proxy: string, now: number): void {
    this.advance(now);
    this.entries++;
    this.proxies.add(proxy);
  }

  /** The pause before the next append. `random`: uniform in [0, 1). */
  pause(now: number, random: number): number {
    this.advance(now);
    return this.mean * 2 * random;
  }

  private advance(now: number): void {
    if (now < this.windowEnd) return;
    const deliveries = (this.entries * this.proxies.size * 1_000) / WINDOW_MS;
    // Nothing was counted in the windows that are missing.
    if (now >= this.windowEnd + WINDOW_MS) this.mean = 0;
    else if (deliveries > DELIVERIES_PER_SECOND) this.mean = Math.min(MAX_PAUSE_MS, this.mean * 1.25 + 1);
    else this.mean = this.mean < 1 ? 0 : this.mean * 0.8;
    this.windowEnd = now + WINDOW_MS;
    this.entries = 0;
    this.proxies.clear();
  }
}
