/** What streams may take together in one turn of the event loop: 1 for each message, and 1 for each `UNIT_BYTES`. */
const MAX_TURN_COST = 64;
/** What a stream may take before the next one has its turn. */
const MAX_SHARE_COST = 16;
export const UNIT_BYTES = 1024;

/** A stream with input that has arrived. */
export interface Rotating {
  /** Whether it could take more input now. */
  readonly hasMore: boolean;
  /** Takes input until that has cost `most`. Returns what it has cost. */
  advance(most: number): number;
}

/**
 * Lets streams take their input in turns, and only some in each turn of the event loop. Otherwise streams with much of it would
 * delay the calls of others.
 */
export class Rotation {
  /** In the order of their turns. */
  private readonly waiting = new Set<Rotating>();
  private rest = MAX_TURN_COST;
  private advancing = false;
  private scheduled = false;

  /** Lets a stream take its input, at once if no other one waits. */
  enter(stream: Rotating): void {
    if (this.advancing || this.waiting.size > 0 || this.rest <= 0) this.waiting.add(stream);
    else this.advance(stream);
    this.schedule();
  }

  private advance(stream: Rotating): void {
    this.advancing = true;
    this.rest -= stream.advance(Math.min(this.rest, MAX_SHARE_COST));
    this.advancing = false;
    if (stream.hasMore) this.waiting.add(stream);
  }

  private schedule(): void {
    if (this.scheduled || (this.waiting.size === 0 && this.rest === MAX_TURN_COST)) return;
    this.scheduled = true;
    setImmediate(() => this.nextTurn());
  }

  private nextTurn(): void {
    this.scheduled = false;
    this.rest = MAX_TURN_COST;
    // Those with more are added again, and come after all others.
    for (const stream of this.waiting) {
      if (this.rest <= 0) break;
      this.waiting.delete(stream);
      this.advance(stream);
    }
    this.schedule();
  }
}
