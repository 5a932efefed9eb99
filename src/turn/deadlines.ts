/** Longest delay of a Node timer. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** A call with a deadline. It is in at most one list. */
export interface Timed<T> {
  /** Milliseconds since the epoch; `Infinity` for never. */
  readonly deadline: number;
  /** Its neighbours in the list. Only the list sets them. */
  before: T | undefined;
  after: T | undefined;
  /** Called once the deadline has passed. It must take the call out of the list. */
  expire(): void;
}

/**
 * A list of calls in flight, oldest first, with one timer for all their deadlines. Nearly all calls end long
 * before their deadline, so a timer for each would be set and cleared in vain.
 */
export class Deadlines<T extends Timed<T>> implements Iterable<T> {
  private first: T | undefined;
  private last: T | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** When the timer fires, in milliseconds since the epoch: at the earliest deadline or before it. */
  private due = Number.POSITIVE_INFINITY;

  add(call: T): void {
    const { last } = this;
    call.before = last;
    if (last === undefined) this.first = call;
    else last.after = call;
    this.last = call;
    if (call.deadline < this.due) this.arm(call.deadline);
  }

  /** Removes a call, which must be in the list. */
  delete(call: T): void {
    const { before, after } = call;
    if (before === undefined) this.first = after;
    else before.after = after;
    if (after === undefined) this.last = before;
    else after.before = before;
    call.before = undefined;
    call.after = undefined;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let call = this.first; call !== undefined; call = call.after) yield call;
  }

  private arm(at: number): void {
    clearTimeout(this.timer);
    this.due = at;
    this.timer = setTimeout(() => this.sweep(), Math.min(Math.max(0, at - Date.now()), MAX_DELAY_MS)).unref();
  }

  private sweep(): void {
    const now = Date.now();
    const expired: T[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const call of this) {
      if (call.deadline <= now) expired.push(call);
      else if (call.deadline < next) next = call.deadline;
    }
    this.due = Number.POSITIVE_INFINITY;
    if (next !== Number.POSITIVE_INFINITY) this.arm(next);
    for (const call of expired) call.expire();
  }
}
