import { readMetrics, type Series } from "./metricsText.js";

/** Cumulative counts of a histogram of durations, in the order of `Latencies.bounds`. */
export type Buckets = readonly number[];

/** Counts of calls since the start. */
export interface CallCounts {
  readonly total: number;
  readonly errors: number;
  readonly buckets: Buckets;
}

/** What the console takes from one scrape of the metrics. */
export interface Figures {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Upper bounds of the buckets in seconds; the last is infinite. */
  readonly bounds: readonly number[];
  readonly calls: CallCounts;
  readonly methods: ReadonlyMap<string, CallCounts & { readonly inFlight: number }>;
  readonly codes: ReadonlyMap<string, number>;
  readonly shards: ReadonlyMap<string, CallCounts>;
  /** Endpoints by shard: their states, and which one is in use. */
  readonly endpoints: ReadonlyMap<string, readonly { readonly state: string; readonly isInUse: boolean }[]>;
  readonly shardRevisions: ReadonlyMap<string, number>;
  readonly seals: Buckets;
  readonly appends: Buckets;
  /** Sum over all series of a name; 0 if there are none. */
  value(name: string, label?: string, wanted?: string): number;
}

const WANTED =
  /^(braid_(build|workers|requests|request_|shard_request|shard_endpoint|timeline|watch|lease|connections|reshard_active|reshard_plan)|process_(resident|start|cpu_seconds)|nodejs_heap_size_used|etcd_server_has_leader)/;

const NONE: readonly Series[] = [];

/** Takes the figures out of Prometheus' text of one proxy, or of all its workers. */
export function figuresOf(text: string, at: number): Figures {
  const series = readMetrics(text, (name) => WANTED.test(name));
  const of = (name: string) => series.get(name) ?? NONE;
  const bounds = boundsOf(of("braid_timeline_seal_duration_seconds_bucket"));
  const buckets = (name: string, label?: string): Map<string, number[]> => bucketsOf(of(name), bounds, label);
  const value = (name: string, label?: string, wanted?: string) =>
    of(name).reduce(
      (sum, each) => (label === undefined || each.labels[label] === wanted ? sum + each.value : sum),
      0,
    );
  const ended = of("braid_requests_total");
  const byMethod = countsBy(ended, "method");
  const durations = buckets("braid_request_duration_seconds_bucket", "method");
  const inFlight = countsBy(of("braid_requests_in_flight"), "method");
  const shardEnded = countsBy(of("braid_shard_requests_total"), "shard");
  const shardDurations = buckets("braid_shard_request_duration_seconds_bucket", "shard");
  const all = sumOf([...byMethod.values()]);
  return {
    at,
    bounds,
    calls: { ...all, buckets: addUp([...durations.values()], bounds) },
    methods: new Map(
      [...new Set([...byMethod.keys(), ...inFlight.keys()])].map((method) => [
        method,
        {
          ...(byMethod.get(method) ?? NO_CALLS),
          buckets: durations.get(method) ?? [],
          inFlight: inFlight.get(method)?.total ?? 0,
        },
      ]),
    ),
    codes: new Map(
      [...countsBy(ended, "code")].map(([code, { total }]) => [code, total] as const).filter(isError),
    ),
    shards: new Map(
      [...shardEnded].map(([shard, counts]) => [
        shard,
        { ...counts, buckets: shardDurations.get(shard) ?? [] },
      ]),
    ),
    endpoints: endpointsOf(of("braid_shard_endpoint_state"), of("braid_shard_endpoint_in_use")),
    shardRevisions: new Map(
      of("braid_timeline_sealed_shard_revision").map(({ labels, value }) => [labels.shard ?? "", value]),
    ),
    seals: buckets("braid_timeline_seal_duration_seconds_bucket").get("") ?? [],
    appends: buckets("braid_timeline_append_duration_seconds_bucket").get("") ?? [],
    value,
  };
}

const isError = ([code]: readonly [string, number]): boolean => code !== "OK";

const NO_CALLS = { total: 0, errors: 0 };

interface Counts {
  readonly total: number;
  readonly errors: number;
}

function countsBy(series: readonly Series[], label: string): Map<string, Counts> {
  const counts = new Map<string, Counts>();
  for (const { labels, value } of series) {
    const key = labels[label] ?? "";
    const { total, errors } = counts.get(key) ?? NO_CALLS;
    const failed = isFailure(labels.code) ? value : 0;
    counts.set(key, { total: total + value, errors: errors + failed });
  }
  return counts;
}

/** A stream that its client ends counts as canceled, which is no error. */
const isFailure = (code: string | undefined): boolean =>
  code !== undefined && code !== "OK" && code !== "Canceled";

const sumOf = (all: readonly Counts[]): Counts =>
  all.reduce(
    (sum, { total, errors }) => ({ total: sum.total + total, errors: sum.errors + errors }),
    NO_CALLS,
  );

const boundOf = ({ labels: { le = "" } }: Series): number =>
  le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le);

const boundsOf = (series: readonly Series[]): number[] =>
  [...new Set(series.map(boundOf))].sort((a, b) => a - b);

function bucketsOf(
  series: readonly Series[],
  bounds: readonly number[],
  label: string | undefined,
): Map<string, number[]> {
  const found = new Map<string, number[]>();
  const places = new Map(bounds.map((bound, place) => [bound, place]));
  for (const each of series) {
    const place = places.get(boundOf(each));
    if (place === undefined) continue;
    const key = label === undefined ? "" : (each.labels[label] ?? "");
    const buckets = found.get(key) ?? bounds.map(() => 0);
    found.set(key, buckets);
    buckets[place] = (buckets[place] ?? 0) + each.value;
  }
  return found;
}

const addUp = (all: readonly Buckets[], bounds: readonly number[]): number[] =>
  bounds.map((_, place) => all.reduce((sum, buckets) => sum + (buckets[place] ?? 0), 0));

function endpointsOf(states: readonly Series[], inUse: readonly Series[]): Figures["endpoints"] {
  const used = new Set(
    inUse.flatMap(({ labels, value }) => (value > 0 ? [`${labels.shard}/${labels.endpoint}`] : [])),
  );
  const found = new Map<string, { state: string; isInUse: boolean }[]>();
  for (const { labels, value } of states) {
    if (value === 0) continue;
    const { shard = "", endpoint = "", state = "" } = labels;
    const place = Number(endpoint) - 1;
    const list = found.get(shard) ?? [];
    found.set(shard, list);
    // Workers may see an endpoint in several states. The last one listed is the worst.
    if (place >= 0 && place < 1_000) list[place] = { state, isInUse: used.has(`${shard}/${endpoint}`) };
  }
  return found;
}

/** Rate per second of a counter between two scrapes. A counter that has fallen began again. */
export function rate(before: number, now: number, ms: number): number | null {
  if (ms <= 0) return null;
  return ((now < before ? now : now - before) * 1_000) / ms;
}

/**
 * The `q`-quantile of the durations between two scrapes, in seconds; null if there were none. Assumes that they are spread evenly
 * within a bucket.
 */
export function quantile(q: number, before: Buckets, now: Buckets, bounds: readonly number[]): number | null {
  const isRestart = now.some((count, place) => count < (before[place] ?? 0));
  const counts = now.map((count, place) => (isRestart ? count : count - (before[place] ?? 0)));
  const total = counts.at(-1) ?? 0;
  if (total <= 0) return null;
  const rank = q * total;
  const place = counts.findIndex((count) => count >= rank);
  const lower = bounds[place - 1] ?? 0;
  const upper = bounds[place] ?? lower;
  if (!Number.isFinite(upper)) return lower;
  const below = counts[place - 1] ?? 0;
  const within = (counts[place] ?? 0) - below;
  return within <= 0 ? upper : lower + ((upper - lower) * (rank - below)) / within;
}
