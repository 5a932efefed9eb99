import { type Figures, quantile, rate } from "./figures.js";
import type { MemberState } from "./members.js";
import { ratesOf } from "./rates.js";
import type { MemberReport, MethodReport, Overview, ShardReport } from "./report.js";
import type { Samples } from "./samples.js";

/** Most methods and codes in the overview. There are not more of them. */
const MAX_METHODS = 64;

/** What is known of the store besides the metrics. */
export interface Surroundings {
  /** Undefined if only the metrics are known. */
  readonly store: string | undefined;
  /** Name of the timeline host's cluster; undefined if it is not known. */
  readonly host: string | undefined;
  /** Members by name of their cluster. */
  readonly members: ReadonlyMap<string, readonly MemberState[]>;
  /** Alarms by name of their cluster. */
  readonly alarms: ReadonlyMap<string, readonly string[]>;
  /** False: members have numbers instead of addresses. */
  readonly withAddresses: boolean;
  readonly version: string;
}

/** Puts the overview together. `since` limits the history. Throws `RangeError` if there is no sample yet. */
export function overviewOf(samples: Samples, around: Surroundings, since: number): Overview {
  const now = samples.newest;
  if (now === undefined) throw new RangeError("there is no sample yet");
  const before = samples.earlier;
  const ms = before === undefined ? 0 : now.at - before.at;
  const perSecond = (name: string) =>
    before === undefined ? null : rate(before.value(name), now.value(name), ms);
  const latency = (q: number, pick: (figures: Figures) => readonly number[]) =>
    before === undefined ? null : quantile(q, pick(before), pick(now), now.bounds);
  const startedAt = now.value("process_start_time_seconds") * 1_000;
  const methods = [...now.methods]
    .map(([method, { inFlight }]): MethodReport => {
      return { method, inFlight, ...ratesOf(before, now, ({ methods }) => methods.get(method)) };
    })
    .filter(({ inFlight, requestsPerSecond }) => inFlight > 0 || (requestsPerSecond ?? 0) > 0)
    .sort((a, b) => (b.requestsPerSecond ?? 0) - (a.requestsPerSecond ?? 0))
    .slice(0, MAX_METHODS);
  const seals = ({ seals }: Figures) => seals;
  const appends = ({ appends }: Figures) => appends;
  return {
    at: now.at,
    version: around.version,
    startedAt: startedAt > 0 ? Math.round(startedAt) : null,
    workers: Math.max(1, now.value("braid_workers")),
    store: around.store ?? null,
    revision: now.value("braid_timeline_revision"),
    compactRevision: now.value("braid_timeline_compact_revision"),
    calls: ratesOf(before, now, ({ calls }) => calls),
    inFlight: now.value("braid_requests_in_flight"),
    methods,
    errors: [...now.codes]
      .filter(([, total]) => total > 0)
      .map(([code, total]) => {
        const known = before?.codes.get(code) ?? 0;
        return { code, total, perSecond: before === undefined ? null : rate(known, total, ms) };
      })
      .sort((a, b) => b.total - a.total)
      .slice(0, MAX_METHODS),
    shards: [...now.endpoints.keys()].map((name) => shardOf(name, samples, around)),
    timeline: {
      entries: now.value("braid_timeline_log_entries"),
      segments: now.value("braid_timeline_segments"),
      tableBytes: now.value("braid_timeline_table_bytes"),
      sealP50: latency(0.5, seals),
      sealP99: latency(0.99, seals),
      appendP50: latency(0.5, appends),
      appendP99: latency(0.99, appends),
      appendsPerSecond: perSecond("braid_timeline_appends_total"),
      isHostReachable: now.value("etcd_server_has_leader") > 0,
    },
    watches: {
      streams: now.value("braid_watch_streams"),
      synced: now.value("braid_watchers", "state", "synced"),
      lagging: now.value("braid_watchers", "state", "lagging"),
      replaying: now.value("braid_watchers", "state", "replaying"),
      lag: now.value("braid_watch_lag_revisions"),
      eventsPerSecond: perSecond("braid_watch_events_sent_total"),
      slowClients: now.value("braid_watch_slow_clients_total"),
    },
    leases: {
      granted: now.value("braid_leases_granted_total"),
      ended: now.value("braid_leases_ended_total"),
      placed: now.value("braid_leases_placed"),
      ending: now.value("braid_leases_ending"),
      renewalsPerSecond: perSecond("braid_lease_renewals_total"),
    },
    connections: {
      http2: now.value("braid_connections", "protocol", "http2"),
      http1: now.value("braid_connections", "protocol", "http1"),
      refused: now.value("braid_connections_refused_total"),
    },
    memory: {
      resident: now.value("process_resident_memory_bytes"),
      heap: now.value("nodejs_heap_size_used_bytes"),
      cpu: perSecond("process_cpu_seconds_total"),
    },
    plan: now.value("braid_reshard_active") > 0 ? now.value("braid_reshard_plan") : null,
    alarms: [...around.alarms].flatMap(([name, alarms]) => alarms.map((alarm) => `${alarm} on ${name}`)),
    history: samples.history(since),
  };
}

function shardOf(name: string, samples: Samples, around: Surroundings): ShardReport {
  const now = samples.newest!;
  const endpoints = now.endpoints.get(name) ?? [];
  const known = around.members.get(name);
  const members = (known ?? []).map((member, i): MemberReport => {
    const { endpoint, ...state } = member;
    return {
      ...state,
      endpoint: around.withAddresses ? endpoint : String(i + 1),
      isInUse: endpoints[i]?.isInUse === true,
    };
  });
  const connections = endpoints.map(
    ({ state, isInUse }, i): MemberReport => ({
      endpoint: String(i + 1),
      state: STATES[state] ?? "unknown",
      version: null,
      size: null,
      sizeInUse: null,
      quota: null,
      isInUse,
      problems: [],
    }),
  );
  const shown = known === undefined ? connections : members;
  const revision = now.shardRevisions.get(name);
  return {
    name,
    isTimelineHost: around.host === undefined ? revision === undefined : name === around.host,
    holdsKeys: revision !== undefined,
    state: stateOf(shown),
    revision: revision ?? null,
    alarms: around.alarms.get(name) ?? [],
    members: shown,
    ...ratesOf(samples.earlier, now, ({ shards }) => shards.get(name)),
  };
}

/** How the proxy's own connections look, where members were not asked. */
const STATES: Readonly<Record<string, MemberReport["state"]>> = {
  ready: "connected",
  silent: "unreachable",
  failed: "unreachable",
};

function stateOf(members: readonly MemberReport[]): ShardReport["state"] {
  const lost = members.filter(({ state }) => state === "unreachable" || state === "no leader");
  if (members.length > 0 && lost.length === members.length) return "down";
  if (lost.length > 0 || members.some(({ problems }) => problems.length > 0)) return "degraded";
  return members.some(({ state }) => state !== "unknown") ? "ok" : "unknown";
}
