import { Histogram } from "./histogram.js";

/** One more than the highest gRPC status code. */
const CODES = 17;

/** Counters of the calls of one method. */
export class MethodStats {
  /** Calls started. */
  started = 0;
  /** Calls ended, by gRPC status code. A call that its client gave up counts as CANCELLED. */
  readonly ended = new Float64Array(CODES);
  /** Durations of unary calls. Streams are not counted: their length has no meaning. */
  readonly latency = new Histogram();

  constructor(
    /** Full method name, e.g. `/etcdserverpb.KV/Range`. */
    readonly path: string,
    readonly streams: boolean,
  ) {}

  get inFlight(): number {
    return this.started - this.ended.reduce((sum, n) => sum + n, 0);
  }
}

/** Counters by method, created at a method's first call. Methods must come from a fixed set, not from clients. */
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
