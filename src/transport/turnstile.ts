import { turnTime } from "../turn/clock.js";
import { Fifo } from "../turn/fifo.js";

/** Calls that a connection may have in progress while others are used. */
const MAX_RUNNING = 64;
/** The same while another one has fewer than this. */
const FEW_RUNNING = 16;
/** Long calls that a connection may have in progress while others are used. */
const MAX_LONG = 1;
/** What a connection has done counts for this long, in milliseconds. */
const USED_MS = 1_000;
/** Longest time that a call waits, in milliseconds. A shard that does not respond must not hold up calls for others. */
const MAX_WAIT_MS = 250;
const MAX_LONG_WAIT_MS = 5_000;
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
  private readonly calls = new Latest();
  /** Calls of connections that have had only a few at the same time. */
  private readonly few = new Latest();
  private readonly waiting = new Set<Line>();
  private timer: NodeJS.Timeout | undefined;

  /** The lane of a new connection. */
  lane(): Lane {
    return new Lane(this);
  }

  /** Notes a call of a lane. `hasFew`: the lane has only had a few at the same time. */
  note(lane: Lane, hasFew: boolean): void {
    const now = turnTime();
    this.calls.note(lane, now);
    if (hasFew) this.few.note(lane, now);
  }

  /** Whether no connection but that of `lane` is used. */
  isAlone(lane: Lane): boolean {
    return turnTime() - this.calls.besides(lane) > USED_MS;
  }

  /** Calls that the connection of `lane` may have in progress now. */
  maxRunning(lane: Lane): number {
    if (this.isAlone(lane)) return Number.POSITIVE_INFINITY;
    return turnTime() - this.few.besides(lane) > USED_MS ? MAX_RUNNING : FEW_RUNNING;
  }

  /** Long calls that the connection of `lane` may have in progress now. */
  maxLong(lane: Lane): number {
    return this.isAlone(lane) ? Number.POSITIVE_INFINITY : MAX_LONG;
  }

  /** Notes that calls of a line wait. */
  waits(line: Line): void {
    this.waiting.add(line);
    this.timer ??= setInterval(() => this.check(), CHECK_MS).unref();
  }

  private check(): void {
    const now = turnTime();
    for (const line of this.waiting) if (!line.beginLate(now)) this.waiting.delete(line);
    if (this.waiting.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }
}

/** One connection's calls. */
export class Lane {
  private readonly calls: Line;
  /** Calls that are in progress and have turned out to take long. */
  readonly long: Line;
  /** When it last had more than a few calls at the same time. */
  private many = Number.NEGATIVE_INFINITY;

  constructor(private readonly turnstile: Turnstile) {
    this.calls = new Line(turnstile, () => turnstile.maxRunning(this), MAX_WAIT_MS);
    this.long = new Line(turnstile, () => turnstile.maxLong(this), MAX_LONG_WAIT_MS);
  }

  /** Begins a call, or has it wait. Call `leave` once when a call that has begun is over. */
  enter(call: Waiting): void {
    const { calls, turnstile } = this;
    const now = turnTime();
    if (calls.length >= FEW_RUNNING) this.many = now;
    turnstile.note(this, now - this.many > USED_MS);
    calls.enter(call);
  }

  leave(): void {
    this.calls.leave();
  }

  /** Whether no other lane is used. */
  get isAlone(): boolean {
    return this.turnstile.isAlone(this);
  }
}

/** When calls last came from a lane, and from any other one. */
class Latest {
  private lane: Lane | undefined;
  private at = Number.NEGATIVE_INFINITY;
  private before = Number.NEGATIVE_INFINITY;

  note(lane: Lane, now: number): void {
    if (lane !== this.lane) {
      this.lane = lane;
      this.before = this.at;
    }
    this.at = now;
  }

  /** When a call last came from another lane than `lane`. */
  besides(lane: Lane): number {
    return lane === this.lane ? this.before : this.at;
  }
}

/** Calls of which only some may be in progress at the same time. The others wait in line. */
class Line {
  private readonly waiting = new Fifo<Entry>();
  /** Calls in progress. */
  private running = 0;
  private dispatching = false;

  constructor(
    private readonly turnstile: Turnstile,
    private readonly most: () => number,
    private readonly maxWaitMs: number,
  ) {}

  /** Number of calls. */
  get length(): number {
    return this.running + this.waiting.length;
  }

  /** Begins a call, or has it wait. Call `leave` once when a call that has begun is over. */
  enter(call: Waiting): void {
    if (this.waiting.length === 0 && this.running < this.most()) {
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
    const most = this.most();
    while (this.running < most && this.waiting.length > 0) this.begin(this.waiting.shift()!.call);
    this.dispatching = false;
  }

  /** Begins some of the calls that have waited for too long. Returns whether others wait. */
  beginLate(now: number): boolean {
    const latest = now - this.maxWaitMs;
    for (let most = this.most(); most > 0 && this.waiting.length > 0; most--) {
      if (this.waiting.peek()!.since > latest) break;
      this.begin(this.waiting.shift()!.call);
    }
    return this.waiting.length > 0;
  }

  private begin(call: Waiting): void {
    if (call.isOver) return;
    this.running++;
    call.begin();
  }
}
