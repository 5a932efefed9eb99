import { StatusError } from "../status/error.js";
import type { TimelineStats } from "./stats.js";
import type { LogEnd, Sealed } from "./view.js";

/**
 * Most reads of the log's end in flight. A call that finds as many joins the next one, which is sent when one of them is
 * answered: it waits for a fraction of a round trip more, and a slow host is not asked ever more often.
 */
const MAX_IN_FLIGHT = 16;

/** Reads of the log's end. The calls of one turn of the event loop share one. */
export class LogEnds {
  /** Not sent yet: it may be joined. */
  private next: EndRead | undefined;
  private inFlight = 0;
  /** True while a read of the host waits for the turn's end, to carry `next`. */
  private isCarrierDue = false;

  constructor(
    /** Reads the log's end and folds up to it. */
    private readonly read: () => Promise<void>,
    private readonly soon: (fn: () => void) => void,
    private readonly stats: TimelineStats,
  ) {}

  /** A read of the log's end that is sent after this call, at the end of the turn if not too many are in flight. */
  join(): LogEnd {
    if (this.next === undefined) {
      this.next = new EndRead();
      if (this.inFlight < MAX_IN_FLIGHT) this.soon(this.send);
    }
    return this.next;
  }

  /** Announces a read of the host that leaves at the end of this turn: it calls `take`, and its answer tells the log's end. */
  expectCarrier(): void {
    this.isCarrierDue = true;
  }

  /** The read that has not been sent, for the carrier to settle. */
  take(): EndRead | undefined {
    const end = this.next;
    this.next = undefined;
    this.isCarrierDue = false;
    return end;
  }

  private readonly send = (): void => {
    if (this.isCarrierDue) return;
    const end = this.take();
    if (end !== undefined) this.transmit(end);
  };

  /** Reads the log's end for `end` alone. */
  transmit(end: EndRead): void {
    this.inFlight++;
    const since = performance.now();
    const settle = (error: StatusError | undefined) => {
      if (error === undefined) this.stats.syncs.observe(performance.now() - since);
      else this.stats.syncsFailed++;
      const wasFull = this.inFlight-- === MAX_IN_FLIGHT;
      if (wasFull && this.next !== undefined) this.soon(this.send);
      end.settle(error);
    };
    this.read().then(
      () => settle(undefined),
      (reason) => settle(StatusError.from(reason)),
    );
  }
}

export class EndRead implements LogEnd {
  /** Undefined once it is settled. */
  private waiting: Sealed[] | undefined = [];
  private failure: StatusError | undefined;

  whenFolded(done: Sealed): void {
    if (this.waiting === undefined) done(this.failure);
    else this.waiting.push(done);
  }

  settle(error: StatusError | undefined): void {
    const { waiting } = this;
    this.waiting = undefined;
    this.failure = error;
    for (const done of waiting ?? []) done(error);
  }
}

/** The end of a log that a call need not read. */
export const FOLDED: LogEnd = { whenFolded: (done) => done(undefined) };

/** The end of a log that cannot be read. */
export const unreadable = (error: StatusError): LogEnd => ({ whenFolded: (done) => done(error) });

/** `whenFolded` as a promise, for what is not hot. */
export function folded(end: LogEnd): Promise<void> {
  return new Promise((resolve, reject) => {
    end.whenFolded((error) => (error === undefined ? resolve() : reject(error)));
  });
}
