import type { Call } from "../rpc/call.js";
import { CallStats, type MethodStats } from "../stats/methods.js";
import { Code, type StatusError } from "../status/error.js";
import { turnTime } from "../turn/clock.js";

/** Counts the calls of clients over every transport, and reports those that fail or are slow. */
export class CallObserver {
  readonly stats = new CallStats();
  /** Unary calls that take this long are reported, in milliseconds. */
  slowMs = Number.POSITIVE_INFINITY;

  /**
   * `report` is called once for each failed call and each slow unary call. `error` is the status that the client got, or
   * CANCELLED if the client had gone. `ms` is the duration.
   */
  constructor(
    private readonly report: (call: Call, error: StatusError | undefined, ms: number) => void = () => {},
  ) {}

  /** Counters shared by all unknown methods, so that clients cannot create new ones. */
  readonly unknown = this.stats.of("unknown", true);

  /** Counts the start of a call; `method` is from `stats`. Returns the time to pass to `ended`. */
  began(method: MethodStats): number {
    method.started++;
    return turnTime();
  }

  /** Counts the end of a call. Call it exactly once; `since` is what `began` returned. */
  ended(call: Call, method: MethodStats, since: number, error: StatusError | undefined): void {
    const ms = turnTime() - since;
    const code = error?.code ?? Code.OK;
    method.ended[code] = (method.ended[code] ?? 0) + 1;
    if (!method.streams) method.latency.observe(ms);
    if (error !== undefined || (ms >= this.slowMs && !method.streams)) this.report(call, error, ms);
  }
}
