import type { Metrics } from "../../ops/prometheus.js";
import type { Sample } from "../../ops/samples.js";
import type { Shard } from "../../shard/shard.js";
import type { Hub } from "../../watch/hub.js";

/** Metrics of watches: watchers, events, and how far behind they are. */
export function addWatchMetrics(
  metrics: Metrics,
  hub: Hub,
  shards: () => readonly Pick<Shard, "name" | "index">[],
): void {
  const { stats } = hub;
  const plain = (read: () => number) => (): Sample[] => [[{}, read()]];
  const byShard = (read: (shard: number) => number) => (): Sample[] =>
    shards().map(({ name, index }) => [{ shard: name }, read(index)]);
  metrics.gauge(
    "braid_watch_streams",
    "Open watch streams of clients.",
    plain(() => stats.streams),
  );
  metrics.gauge(
    "braid_watchers",
    "Watches of clients: synced, lagging (reading the history, or with a slow client), or replaying old revisions.",
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
    "Watches refused because their connection had too many.",
    plain(() => stats.refused),
  );
  metrics.counter(
    "braid_watch_events_sent_total",
    "Events sent to clients.",
    plain(() => stats.eventsOut),
  );
  metrics.counter(
    "braid_watch_events_received_total",
    "Events from a shard, replays included.",
    byShard((shard) => stats.upstream.at(shard).events),
  );
  metrics.counter(
    "braid_watch_upstream_opened_total",
    "Watches opened to a shard: the first, after a lost connection, and for replays.",
    byShard((shard) => stats.upstream.at(shard).opened),
  );
  metrics.gauge(
    "braid_watch_shard_lag_revisions",
    "Sealed revisions of a shard, as the shard itself counts, that its watch has not delivered yet.",
    () => {
      const { missing } = hub.status;
      return shards().map(({ name, index }) => [{ shard: name }, missing.get(index) ?? 0]);
    },
    "max",
  );
  metrics.gauge(
    "braid_watch_lag_revisions",
    "Revisions in the timeline that have not been delivered to watchers yet.",
    plain(() => hub.status.undelivered),
    "max",
  );
  metrics.counter(
    "braid_watch_catch_ups_total",
    "Catch-ups of watchers: reads of the history, and replays from the shards (which several watchers can share).",
    () => [
      [{ from: "history" }, stats.historyReads],
      [{ from: "replay" }, stats.replays],
    ],
  );
  metrics.counter(
    "braid_watch_slow_clients_total",
    "How often a client's stream was full. Its watches then continue from the history.",
    plain(() => stats.blocked),
  );
  metrics.counter(
    "braid_watches_compacted_total",
    "Watches canceled because their next revision was compacted.",
    plain(() => stats.compacted),
  );
}
