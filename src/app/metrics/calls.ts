import type { HistogramSample } from "../../ops/prometheus.js";
import type { Labels, Sample } from "../../ops/samples.js";
import type { CallStats } from "../../stats/methods.js";
import { Code } from "../../status/error.js";

/** The codes' names as in gRPC's own metrics, such as `DeadlineExceeded`. */
const CODE_NAMES: readonly string[] = Object.entries(Code)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) =>
    name === "OK" ? name : name.toLowerCase().replace(/(?:^|_)(.)/g, (_, c) => c.toUpperCase()),
  );

const CANCELLED = "Canceled";

export function codeName(code: number): string {
  return code === Code.CANCELLED ? CANCELLED : CODE_NAMES[code]!;
}

/** `/etcdserverpb.KV/Range` as `KV.Range`. */
export function methodName(path: string): string {
  const [, service = "", method] = path.split("/");
  return method === undefined ? path : `${service.slice(service.lastIndexOf(".") + 1)}.${method}`;
}

/** Completed calls, by method and code. */
export function* endedCalls(stats: CallStats, more: Labels = {}): Iterable<Sample> {
  for (const { path, ended } of stats.all()) {
    const method = methodName(path);
    for (const [code, count] of ended.entries()) {
      if (count > 0) yield [{ ...more, method, code: codeName(code) }, count];
    }
  }
}

/** Durations of unary calls, by method, without methods that have not been called. */
export function* callDurations(stats: CallStats, more: Labels = {}): Iterable<HistogramSample> {
  for (const { path, streams, started, latency } of stats.all()) {
    if (!streams && started > 0) yield [{ ...more, method: methodName(path) }, latency];
  }
}

export function* callsInFlight(stats: CallStats, more: Labels = {}): Iterable<Sample> {
  for (const { path, started, inFlight } of stats.all()) {
    if (started > 0) yield [{ ...more, method: methodName(path) }, inFlight];
  }
}
