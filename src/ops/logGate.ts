/** Default for the number of lines of one kind that pass in an interval. */
const MAX_LINES = 10;
const INTERVAL_MS = 10_000;

interface Kind {
  /** Lines that may still pass in this interval. */
  left: number;
  held: number;
}

/**
 * Keeps a log readable while much goes wrong at once. In each interval, the first few lines of a kind pass and the
 * rest are only counted. Kinds must come from a fixed set.
 */
export class LogGate {
  private readonly kinds = new Map<string, Kind>();

  /** Calls `held` at the end of each interval in which lines of a kind did not pass, with their number. */
  constructor(
    private readonly held: (kind: string, count: number) => void,
    private readonly lines = MAX_LINES,
    private readonly intervalMs = INTERVAL_MS,
  ) {}

  /** Returns whether to write a line of this kind. */
  passes(kind: string): boolean {
    let state = this.kinds.get(kind);
    if (state === undefined) {
      state = { left: this.lines, held: 0 };
      this.kinds.set(kind, state);
      setTimeout(() => this.endInterval(kind), this.intervalMs).unref();
    }
    if (state.left > 0) {
      state.left--;
      return true;
    }
    state.held++;
    return false;
  }

  private endInterval(kind: string): void {
    const held = this.kinds.get(kind)?.held ?? 0;
    this.kinds.delete(kind);
    if (held > 0) this.held(kind, held);
  }
}
