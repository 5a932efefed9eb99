import type { LeaseCounts } from "../../lease/leases.js";
import { version } from "../../ops/package.js";
import { Metrics } from "../../ops/prometheus.js";
import type { Sample } from "../../ops/samples.js";
import type { ShardClient } from "../../shard/client.js";
import type { ShardSet } from "../../shard/shardSet.js";
import { type ConnectionStats, REFUSALS } from "../../stats/connections.js";
import type { CallStats } from "../../stats/methods.js";
import type { Tenants } from "../../tenants/tenants.js";
import type { SharedTimeline } from "../../timeline/timeline.js";
import type { Hub } from "../../watch/hub.js";
import type { ReshardStats } from "../reshard/stats.js";
import type { StoreAuth } from "../store/auth.js";
import { addAuthMetrics } from "./auth.js";
import { callDurations, callsInFlight, codeName, endedCalls } from "./calls.js";
import { addReshardMetrics } from "./reshard.js";
import { addTenantMetrics } from "./tenants.js";
import { addTimelineMetrics } from "./timeline.js";
import { addWatchMetrics } from "./watch.js";

/** The objects that the metrics read. */
export interface MetricSources {
  /** Statistics of client calls. */
  readonly calls: CallStats;
  readonly connections: ConnectionStats;
  /** Expiry time of the certificate for clients, in milliseconds since the epoch; undefined without TLS. */
  certificateExpiresAt(): number | undefined;
  /** Undefined without authentication. */
  readonly auth: Pick<StoreAuth, "callers" | "counts"> | undefined;
  readonly shards: ShardSet<ShardClient>;
  readonly host: ShardClient;
  readonly timeline: SharedTimeline;
  readonly hub: Hub;
  readonly leases: { counts(): LeaseCounts };
  readonly reshard: ReshardStats;
  readonly tenants: Tenants;
}

/** Creates all metrics of a proxy. docs/metrics.md explains them; docs/grafana/etcd-braid.json shows them. */
export function createMetrics(sources: MetricSources): Metrics {
  const metrics = new Metrics(true);
  metrics.gauge(
    "braid_build_info",
    "Always 1; the label is the proxy's version.",
    () => [[{ version }, 1]],
    "max",
  );
  addClientMetrics(metrics, sources.calls);
  addConnectionMetrics(metrics, sources.connections);
  const { host } = sources;
  // By name, because a shard can take over the name of one that is about to leave. Then the newer one counts.
  const shards = () => [...new Map(sources.shards.all().map((shard) => [shard.name, shard])).values()];
  /** The shards, then the timeline host if it is not a shard. */
  const backends = () => (host.index < 0 ? [...shards(), host] : shards());
  addCertificateMetrics(metrics, backends, sources);
  addShardMetrics(metrics, backends);
  addTimelineMetrics(metrics, sources.timeline, shards);
  addWatchMetrics(metrics, sources.hub, shards);
  addLeaseMetrics(metrics, sources.leases);
  addReshardMetrics(metrics, sources.reshard, () => sources.timeline.placement);
  addAuthMetrics(metrics, sources.auth);
  addTenantMetrics(metrics, sources.tenants);
  addEtcdMetrics(metrics, sources);
  return metrics;
}

function addClientMetrics(metrics: Metrics, calls: CallStats): void {
  metrics.counter(
    "braid_requests_total",
    "Completed client calls, by method and gRPC code. A stream counts when it ends.",
    () => endedCalls(calls),
  );
  metrics.histogram(
    "braid_request_duration_seconds",
    "Time from the arrival of a client's unary call to its response.",
    () => callDurations(calls),
  );
  metrics.gauge("braid_requests_in_flight", "Client calls in progress, streams included.", () =>
    callsInFlight(calls),
  );
}

function addConnectionMetrics(metrics: Metrics, stats: ConnectionStats): void {
  const byProtocol = (counts: ConnectionStats["openBy"]) => (): Sample[] => [
    [{ protocol: "http2" }, counts.http2],
    [{ protocol: "http1" }, counts.http1],
  ];
  metrics.gauge(
    "braid_connections",
    "Open client connections: HTTP/2 (gRPC) and HTTP/1.1 (JSON gateway, pages).",
    byProtocol(stats.openBy),
  );
  metrics.counter(
    "braid_connections_accepted_total",
    "Accepted client connections.",
    byProtocol(stats.acceptedBy),
  );
  metrics.counter(
    "braid_connections_refused_total",
    "Connections refused, or closed because of the client's behavior.",
    () => REFUSALS.map((reason) => [{ reason }, stats.refused[reason]]),
  );
  metrics.gauge(
    "braid_connections_queued_bytes",
    "Responses and events that clients have not read yet.",
    () => [[{}, stats.queued.bytes]],
  );
  metrics.gauge(
    "braid_connections_request_bytes",
    "Client requests that are incomplete, waiting or in progress.",
    () => [[{}, stats.requests.bytes]],
  );
  metrics.counter(
    "braid_streams_refused_total",
    "HTTP/2 streams refused because their connection had the maximum number.",
    () => [[{}, stats.refusedStreams]],
  );
}

function addCertificateMetrics(
  metrics: Metrics,
  backends: () => readonly ShardClient[],
  { certificateExpiresAt }: Pick<MetricSources, "certificateExpiresAt">,
): void {
  metrics.gauge(
    "braid_tls_certificate_expiry_timestamp_seconds",
    "Expiry times of the proxy's certificates: the one for clients, and those for shards.",
    () => {
      const shards = backends().map((shard): Sample => {
        return [{ use: "shard", shard: shard.name }, shard.certificateExpiresAt / 1_000];
      });
      const clients: Sample = [{ use: "clients", shard: "" }, (certificateExpiresAt() ?? Infinity) / 1_000];
      return [clients, ...shards].filter(([, seconds]) => Number.isFinite(seconds));
    },
    "min",
  );
}

const STATES = ["idle", "connecting", "ready", "silent", "failed"] as const;

function addShardMetrics(metrics: Metrics, backends: () => readonly ShardClient[]): void {
  metrics.counter(
    "braid_shard_requests_total",
    "Completed unary calls to a shard, by method and gRPC code. Reads that are sent together count as one KV.Txn.",
    () => backends().flatMap(({ name, stats }) => [...endedCalls(stats, { shard: name })]),
  );
  metrics.histogram(
    "braid_shard_request_duration_seconds",
    "Duration of unary calls to a shard, retries included. Reads that are sent together count as one KV.Txn.",
    () => backends().flatMap(({ name, stats }) => [...callDurations(stats, { shard: name })]),
  );
  metrics.gauge("braid_shard_requests_in_flight", "Unary calls to a shard in progress.", () =>
    backends().flatMap(({ name, stats }) => [...callsInFlight(stats, { shard: name })]),
  );
  metrics.gauge("braid_shard_streams", "Streams to a shard that are open or wait for an endpoint.", () =>
    backends().map(({ name, openStreams }) => [{ shard: name }, openStreams]),
  );
  // The page needs no credentials, so it has the numbers of endpoints, not their addresses.
  const endpoints = () =>
    backends().flatMap((client) =>
      client
        .endpoints()
        .map((health, i) => ({ labels: { shard: client.name, endpoint: String(i + 1) }, health })),
    );
  metrics.gauge(
    "braid_shard_endpoint_state",
    "1 for the current state of an endpoint: idle, connecting, ready, silent (connected, but not responding) or failed. " +
      "Endpoints are numbered as in the shard's configuration, from 1.",
    () =>
      endpoints().flatMap(({ labels, health: { state } }) =>
        STATES.map((each): Sample => [{ ...labels, state: each }, each === state ? 1 : 0]),
      ),
    "max",
  );
  metrics.gauge(
    "braid_shard_endpoint_in_use",
    "1 for the endpoint of a shard that calls go to while it works.",
    () => endpoints().map(({ labels, health: { inUse } }) => [labels, Number(inUse)]),
    "max",
  );
  metrics.counter("braid_shard_connects_total", "Connections made to an endpoint.", () =>
    endpoints().map(({ labels, health: { connects } }) => [labels, connects]),
  );
  metrics.counter(
    "braid_shard_connection_failures_total",
    "Connections to an endpoint that were lost or could not be made.",
    () => endpoints().map(({ labels, health: { failures } }) => [labels, failures]),
  );
}

function addLeaseMetrics(metrics: Metrics, leases: { counts(): LeaseCounts }): void {
  const plain = (read: (counts: LeaseCounts) => number) => (): Sample[] => [[{}, read(leases.counts())]];
  metrics.counter(
    "braid_leases_granted_total",
    "Leases granted through this proxy.",
    plain((c) => c.granted),
  );
  metrics.counter(
    "braid_lease_parts_granted_total",
    "Parts of leases that this proxy granted on shards other than the home.",
    plain((c) => c.parts),
  );
  metrics.counter(
    "braid_lease_renewals_total",
    "Keep-alives of clients.",
    plain((c) => c.renewals),
  );
  metrics.counter(
    "braid_lease_renewals_missed_total",
    "Keep-alives to shards without a response in time.",
    plain((c) => c.missedRenewals),
  );
  metrics.counter(
    "braid_leases_ended_total",
    "Leases that this proxy has ended on all shards.",
    plain((c) => c.ended),
  );
  metrics.gauge(
    "braid_leases_placed",
    "Leases with parts on shards other than their home.",
    plain((c) => c.placed),
    "max",
  );
  metrics.gauge(
    "braid_leases_ending",
    "Ended leases with parts that this proxy has not revoked yet.",
    plain((c) => c.ending),
  );
}

/** etcd's own metrics that apply to a proxy, for dashboards and alerts made for etcd. */
function addEtcdMetrics(metrics: Metrics, { calls, host }: MetricSources): void {
  const labels = (path: string, streams: boolean) => {
    const [, service = "", method = ""] = path.split("/");
    return { grpc_type: streams ? "bidi_stream" : "unary", grpc_service: service, grpc_method: method };
  };
  const known = () => [...calls.all()].filter(({ path }) => path.startsWith("/"));
  metrics.counter("grpc_server_started_total", "As in etcd: client calls started.", () =>
    known().map(({ path, streams, started }) => [labels(path, streams), started]),
  );
  metrics.counter("grpc_server_handled_total", "As in etcd: client calls completed, by code.", () =>
    known().flatMap(({ path, streams, ended }) =>
      [...ended.entries()]
        .filter(([, count]) => count > 0)
        .map(([code, count]): Sample => [{ ...labels(path, streams), grpc_code: codeName(code) }, count]),
    ),
  );
  metrics.gauge(
    "etcd_server_has_leader",
    "As in etcd, for the store: 1 while an endpoint of the timeline host responds. Writes need the timeline host.",
    () => [[{}, Number(host.endpoints().some(({ state }) => state === "ready"))]],
    "max",
  );
}
