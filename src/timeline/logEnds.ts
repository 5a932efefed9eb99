import { StatusError } from "../status/error.js";
import type { TimelineStats } from "./stats.js";
import type { LogEnd, Sealed } from "./view.js";

/**
 * Most reads of the log's end in flight. Further calls join the next read, which is sent when one of these is answered.
 * They wait a fraction of a round trip longer, and a slow host does not get ever more reads.
 */
const MAX_IN_FLIGHT = 16;

/** Reads of the log's end. All calls of one turn of the event loop share a read. */
export class LogEnds {
  /** The read that is not sent yet, so that calls can join it. */
  private next: EndRead | undefined;
  private inFlight = 0;
  /** The host shard while a read of it waits for the end of the turn, and will carry `next`. */
  private carrier: number | undefined;

  constructor(
    /** Reads the log's end and resolves when the log is folded up to it. */
    private readonly read: () => Promise<void>,
    private readonly soon: (fn: () => void) => void,
    private readonly stats: TimelineStats,
  ) {}

  /** Returns a read that is sent after this call: at the end of the turn, unless too many are in flight. */
  join(): LogEnd {
    if (this.next === undefined) {
      this.next = new EndRead();
      if (this.inFlight < MAX_IN_FLIGHT) this.soon(this.send);
    }
    return this.next;
  }

  /** Announces a read of the host, this shard, that leaves at the end of this turn. It calls `take`, and its answer includes the log's end. */
  expectCarrier(shard: number): void {
    this.carrier = shard;
  }

  /** True while a read of this shard is announced. */
  isCarrier(shard: number): boolean {
    return this.carrier === shard;
  }

  /** Takes the read that is not sent yet. The caller settles it. */
  take(): EndRead | undefined {
    const end = this.next;
    this.next = undefined;
    this.carrier = undefined;
    return end;
  }

  private readonly send = (): void => {
    if (this.carrier !== undefined) return;
    const end = this.take();
    if (end !== undefined) this.transmit(end);
  };

  /** Sends a read for `end`, and settles it. */
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

/** One read of the log's end, shared by the calls that wait for it. */
export class EndRead implements LogEnd {
  /** Undefined once settled. */
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

/** For calls that need not read the log's end. */
export const FOLDED: LogEnd = { whenFolded: (done) => done(undefined) };

/** For calls that cannot read the log's end because of `error`. */
export const unreadable = (error: StatusError): LogEnd => ({ whenFolded: (done) => done(error) });

/** `whenFolded` as a promise, for calls that are not hot. */
export function folded(end: LogEnd): Promise<void> {
  return new Promise((resolve, reject) => {
    end.whenFolded((error) => (error === undefined ? resolve() : reject(error)));
  });
}
