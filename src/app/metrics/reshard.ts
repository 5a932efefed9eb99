import type { Metrics } from "../../ops/prometheus.js";
import type { Sample } from "../../ops/samples.js";
import type { PlacementState } from "../../reshard/placement.js";
import type { ReshardStats } from "../reshard/stats.js";

/** Metrics of plans, and of the keys that this proxy moves. */
export function addReshardMetrics(
  metrics: Metrics,
  stats: ReshardStats,
  placement: () => Pick<PlacementState, "plans" | "plan">,
): void {
  const plain = (read: () => number) => (): Sample[] => [[{}, read()]];
  metrics.gauge(
    "braid_reshard_plan",
    "Number of the newest plan; 0 before the first.",
    plain(() => placement().plans),
    "max",
  );
  metrics.gauge(
    "braid_reshard_active",
    "1 while a plan is active.",
    plain(() => Number(placement().plan !== undefined)),
    "max",
  );
  metrics.gauge(
    "braid_reshard_mover",
    "1 while this proxy moves the keys of the plan.",
    plain(() => Number(stats.isMover)),
    "max",
  );
  metrics.gauge(
    "braid_reshard_waiting",
    "1 while this proxy should move keys, but is paused, or tries again later after a failure.",
    plain(() => Number(stats.isWaiting)),
    "max",
  );
  metrics.counter(
    "braid_reshard_steps_total",
    "Steps that this proxy has moved.",
    plain(() => stats.steps),
  );
  metrics.counter(
    "braid_reshard_keys_moved_total",
    "Keys that this proxy has moved.",
    plain(() => stats.keys),
  );
  metrics.counter(
    "braid_reshard_bytes_moved_total",
    "Bytes of the keys and values that this proxy has moved.",
    plain(() => stats.bytes),
  );
  metrics.gauge(
    "braid_reshard_keys_per_second",
    "Speed of the last step, while this proxy moves keys.",
    plain(() => stats.keysPerSecond),
    "max",
  );
  metrics.gauge(
    "braid_reshard_last_pause_seconds",
    "How long calls to the last step that this proxy has moved waited.",
    plain(() => stats.lastPauseMs / 1_000),
    "max",
  );
  metrics.gauge(
    "braid_reshard_longest_pause_seconds",
    "The longest of these pauses since this proxy began to move the keys of the plan.",
    plain(() => stats.longestPauseMs / 1_000),
    "max",
  );
}
