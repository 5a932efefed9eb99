import type { Metrics } from "../../ops/prometheus.js";
import type { Sample } from "../../ops/samples.js";
import type { Shard } from "../../shard/shard.js";
import type { SharedTimeline } from "../../timeline/timeline.js";

/** Metrics of the timeline: latency of sealing, size of the log and of the table. */
export function addTimelineMetrics(
  metrics: Metrics,
  timeline: SharedTimeline,
  shards: () => readonly Pick<Shard, "name" | "index">[],
): void {
  const { stats } = timeline;
  const plain = (read: () => number) => (): Sample[] => [[{}, read()]];
  const results = (counts: () => readonly [result: string, count: number][]) => (): Sample[] =>
    counts().map(([result, count]) => [{ result }, count]);
  metrics.histogram(
    "braid_timeline_seal_duration_seconds",
    "Time that writes and reads waited for a shard revision to be sealed. Calls that did not wait do not count.",
    () => [[{}, stats.seals]],
  );
  metrics.histogram(
    "braid_timeline_append_duration_seconds",
    "Time that the timeline host took to append an entry.",
    () => [[{}, stats.appends]],
  );
  metrics.counter(
    "braid_timeline_appends_total",
    "Appends of this proxy: taken, carried by the put that they seal, refused because of a new base (and retried), or failed.",
    results(() => [
      ["taken", stats.appends.count],
      ["carried", stats.carried],
      ["refused", stats.appendsRefused],
      ["failed", stats.appendsFailed],
    ]),
  );
  metrics.histogram(
    "braid_timeline_sync_duration_seconds",
    "Duration of linearizable reads of the log's end.",
    () => [[{}, stats.syncs]],
  );
  metrics.counter(
    "braid_timeline_syncs_failed_total",
    "Failed reads of the log's end.",
    plain(() => stats.syncsFailed),
  );
  metrics.counter(
    "braid_timeline_entries_total",
    "Entries of all proxies that this proxy has folded.",
    plain(() => stats.entries),
  );
  metrics.counter(
    "braid_timeline_bases_total",
    "Bases that replaced older entries of the log, written by this proxy (own) or another (other).",
    results(() => [
      ["own", stats.ownBases],
      ["other", Math.max(0, stats.bases - stats.ownBases)],
    ]),
  );
  metrics.counter(
    "braid_timeline_reloads_total",
    "How often this proxy lost its place in the log and read it again from the base.",
    plain(() => stats.reloads),
  );
  metrics.gauge(
    "braid_timeline_log_entries",
    "Entries in the log above its base.",
    plain(() => timeline.log.folded.length),
    "max",
  );
  const table = () => timeline.log.fold.snapshot().table;
  metrics.gauge(
    "braid_timeline_segments",
    "Segments of the table that maps revisions to shard revisions.",
    plain(() => table().count),
    "max",
  );
  metrics.gauge(
    "braid_timeline_table_bytes",
    "Memory of the table that maps revisions to shard revisions.",
    plain(() => table().bytes),
  );
  metrics.gauge(
    "braid_timeline_revision",
    "Newest revision that this proxy knows.",
    plain(() => timeline.head),
    "max",
  );
  metrics.gauge(
    "braid_timeline_compact_revision",
    "Newest compacted revision.",
    plain(() => timeline.compactRevision),
    "max",
  );
  metrics.gauge(
    "braid_timeline_sealed_shard_revision",
    "Newest sealed revision of each shard, as the shard itself counts.",
    () => shards().map(({ name, index }) => [{ shard: name }, timeline.cut(index)]),
    "max",
  );
}
