import type { Call } from "../rpc/call.js";
import { CallStats, type MethodStats } from "../stats/methods.js";
import type { StatusError } from "../status/error.js";
import { turnTime } from "../turn/clock.js";

/** What becomes of the calls of clients, whatever transport carries them: counted, and told of when it is worth a line. */
export class CallObserver {
  readonly stats = new CallStats();
  /** Unary calls that take longer are told of, ms. */
  slowMs = Number.POSITIVE_INFINITY;

  /**
   * `report` is called once for each call that failed and each slow unary one. `error` is the status that the client
   * got or, where nobody waits any more, CANCELLED.
   */
  constructor(
    private readonly report: (call: Call, error: StatusError | undefined, ms: number) => void = () => {},
  ) {}

  /** The counters of unknown methods, which share theirs: clients must not be able to make new ones. */
  readonly unknown = this.stats.of("unknown", true);

  /** A call begins; `method` is from `stats`. Answers the time for `ended`. */
  began(method: MethodStats): number {
    method.started++;
    return turnTime();
  }

  /** The end of a call that `began` at `since`; exactly once. */
  ended(call: Call, method: MethodStats, since: number, error: StatusError | undefined): void {
    const ms = turnTime() - since;
    method.ended[error === undefined ? 0 : error.code]++;
    if (!method.streams) method.latency.observe(ms);
    if (error !== undefined || (ms >= this.slowMs && !method.streams)) this.report(call, error, ms);
  }
}
