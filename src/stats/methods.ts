import { Histogram } from "./histogram.js";

/** One more than the highest gRPC status code. */
const CODES = 17;

/** Counters of the calls of one method. */
export class MethodStats {
  /** Calls begun. */
  started = 0;
  /** Calls ended, by gRPC status code; a call whose caller has left counts as CANCELLED. */
  readonly ended = new Float64Array(CODES);
  /** How long each call took; nothing is counted here for streams, whose length says nothing. */
  readonly latency = new Histogram();

  constructor(
    /** Full method, e.g. `/etcdserverpb.KV/Range`. */
    readonly path: string,
    readonly streams: boolean,
  ) {}

  get inFlight(): number {
    return this.started - this.ended.reduce((sum, n) => sum + n, 0);
  }
}

/** Counters by method, made when a method is first called. The methods must come from a fixed list, not from clients. */
export class CallStats {
  private readonly methods = new Map<string, MethodStats>();

  of(path: string, streams = false): MethodStats {
    let method = this.methods.get(path);
    if (method === undefined) {
      method = new MethodStats(path, streams);
      this.methods.set(path, method);
    }
    return method;
  }

  all(): Iterable<MethodStats> {
    return this.methods.values();
  }
}
