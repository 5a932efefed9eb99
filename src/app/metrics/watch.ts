import type { Metrics } from "../../ops/prometheus.js";
import type { Sample } from "../../ops/samples.js";
import type { Hub } from "../../watch/hub.js";

/** How the watches do: who watches, what comes and goes, who is behind. */
export function addWatchMetrics(metrics: Metrics, hub: Hub, shardNames: readonly string[]): void {
  const { stats } = hub;
  const plain = (read: () => number) => (): Sample[] => [[{}, read()]];
  const byShard = (read: (shard: number) => number) => (): Sample[] =>
    shardNames.map((shard, i) => [{ shard }, read(i)]);
  metrics.gauge(
    "braid_watch_streams",
    "Watch streams of clients that are open.",
    plain(() => stats.streams),
  );
  metrics.gauge(
    "braid_watchers",
    "Watches of clients: synced, lagging (they read the history, or their client is slow), or replaying.",
    () => {
      const { synced, lagging, replaying } = hub.status;
      return [
        [{ state: "synced" }, synced],
        [{ state: "lagging" }, lagging],
        [{ state: "replaying" }, replaying],
      ];
    },
  );
  metrics.counter(
    "braid_watches_created_total",
    "Watches that clients created.",
    plain(() => stats.created),
  );
  metrics.counter(
    "braid_watches_refused_total",
    "Watches, or requests for them, refused because their connection had too many.",
    plain(() => stats.refused),
  );
  metrics.counter(
    "braid_watch_events_sent_total",
    "Events sent to clients.",
    plain(() => stats.eventsOut),
  );
  metrics.counter(
    "braid_watch_events_received_total",
    "Events that came from a shard, replays included.",
    byShard((shard) => stats.upstream[shard]!.events),
  );
  metrics.counter(
    "braid_watch_upstream_opened_total",
    "Watches opened to a shard: at first, after a loss, and for replays.",
    byShard((shard) => stats.upstream[shard]!.opened),
  );
  metrics.gauge(
    "braid_watch_shard_lag_revisions",
    "Sealed revisions of a shard, as the shard counts, that its watch has not brought yet.",
    () => hub.status.missing.map((missing, i) => [{ shard: shardNames[i]! }, missing]),
    "max",
  );
  metrics.gauge(
    "braid_watch_lag_revisions",
    "Revisions in the timeline that have not been handed out to watchers yet.",
    plain(() => hub.status.undelivered),
    "max",
  );
  metrics.counter(
    "braid_watch_catch_ups_total",
    "Watchers that caught up: a piece of the history read, or a replay from the shards (which many can share).",
    () => [
      [{ from: "history" }, stats.historyReads],
      [{ from: "replay" }, stats.replays],
    ],
  );
  metrics.counter(
    "braid_watch_slow_clients_total",
    "How often a client's stream was full, so that its watches fell back to the history.",
    plain(() => stats.blocked),
  );
  metrics.counter(
    "braid_watches_compacted_total",
    "Watches that were ended because what they needed was compacted.",
    plain(() => stats.compacted),
  );
}
