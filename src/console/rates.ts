import { type CallCounts, type Figures, quantile, rate } from "./figures.js";
import type { CallRates } from "./report.js";

const NO_CALLS: CallCounts = { total: 0, errors: 0, buckets: [] };

/** Rates of calls between two scrapes. */
export function ratesOf(
  before: Figures | undefined,
  now: Figures,
  pick: (figures: Figures) => CallCounts | undefined,
): CallRates {
  const counts = pick(now) ?? NO_CALLS;
  if (before === undefined) return { requestsPerSecond: null, errorsPerSecond: null, p50: null, p99: null };
  const earlier = pick(before) ?? NO_CALLS;
  const ms = now.at - before.at;
  return {
    requestsPerSecond: rate(earlier.total, counts.total, ms),
    errorsPerSecond: rate(earlier.errors, counts.errors, ms),
    p50: quantile(0.5, earlier.buckets, counts.buckets, now.bounds),
    p99: quantile(0.99, earlier.buckets, counts.buckets, now.bounds),
  };
}
