/** Lines of one kind that pass in one interval, and how long that is, ms. */
const LINES = 10;
const INTERVAL = 10_000;

interface Kind {
  left: number;
  held: number;
}

/**
 * Keeps a log readable while much goes wrong at once: of each kind of line the first few of an interval pass, the rest
 * are counted. The kinds must come from a fixed list.
 */
export class LogGate {
  private readonly kinds = new Map<string, Kind>();

  /** `held` is called at the end of an interval in which `count` lines of a kind did not pass. */
  constructor(
    private readonly held: (kind: string, count: number) => void,
    private readonly lines = LINES,
    private readonly intervalMs = INTERVAL,
  ) {}

  /** True when a line of this kind is to be written. */
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
