import { turnTime } from "../turn/clock.js";
import { Fifo } from "../turn/fifo.js";

/** Calls that a connection may have in progress while others are used. */
const MAX_RUNNING = 64;
/** A connection counts as used for this long after a call, in milliseconds. */
const USED_MS = 1_000;
/** Longest time that a call waits, in milliseconds. A shard that does not respond must not hold up calls for others. */
const MAX_WAIT_MS = 250;
const CHECK_MS = 50;

/** A call that may have to wait. */
export interface Waiting {
  /** True once it is over, so that it needs no turn any more. */
  readonly isOver: boolean;
  /** Begins the call. It may end in the meantime. */
  begin(): void;
}

interface Entry {
  readonly call: Waiting;
  readonly since: number;
}

/**
 * Lets connections take turns, so that many calls of one do not delay the calls of others: each has only a few in progress. While
 * only one connection is used, nothing waits.
 */
export class Turnstile {
  private last: Lane | undefined;
  /** When a call last came from another connection than the one before. */
  private changed = Number.NEGATIVE_INFINITY;
  private readonly waiting = new Set<Lane>();
  private timer: NodeJS.Timeout | undefined;

  /** The lane of a new connection. */
  lane(): Lane {
    return new Lane(this);
  }

  /** Notes a call of a lane. Returns whether no other one is used. */
  isAlone(lane: Lane): boolean {
    const now = turnTime();
    if (lane !== this.last) {
      this.last = lane;
      this.changed = now;
    }
    return now - this.changed > USED_MS;
  }

  /** Notes that calls of a lane wait. */
  waits(lane: Lane): void {
    this.waiting.add(lane);
    this.timer ??= setInterval(() => this.check(), CHECK_MS).unref();
  }

  private check(): void {
    const latest = turnTime() - MAX_WAIT_MS;
    for (const lane of this.waiting) if (!lane.beginLate(latest)) this.waiting.delete(lane);
    if (this.waiting.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }
}

/** One connection's calls. */
export class Lane {
  private readonly waiting = new Fifo<Entry>();
  /** Calls in progress. */
  private running = 0;
  private dispatching = false;

  constructor(private readonly turnstile: Turnstile) {}

  /** Begins a call, or has it wait. Call `leave` once when a call that has begun is over. */
  enter(call: Waiting): void {
    const isFree = this.turnstile.isAlone(this) || this.running < MAX_RUNNING;
    if (isFree && this.waiting.length === 0) {
      this.begin(call);
      return;
    }
    if (this.waiting.length === 0) this.turnstile.waits(this);
    this.waiting.push({ call, since: turnTime() });
  }

  leave(): void {
    this.running--;
    // A call that ends while it begins must not nest.
    if (this.waiting.length === 0 || this.dispatching) return;
    this.dispatching = true;
    while (this.running < MAX_RUNNING && this.waiting.length > 0) this.begin(this.waiting.shift()!.call);
    this.dispatching = false;
  }

  /** Begins calls that have waited since `latest` or before. Returns whether others wait. */
  beginLate(latest: number): boolean {
    while (this.waiting.length > 0 && this.waiting.peek()!.since <= latest)
      this.begin(this.waiting.shift()!.call);
    return this.waiting.length > 0;
  }

  private begin(call: Waiting): void {
    if (call.isOver) return;
    this.running++;
    call.begin();
  }
}
