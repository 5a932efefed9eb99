import type { MetricSink } from "./samples.js";

/**
 * Adds the CPU time and the start time of this process, named as in prom-client. That library's own counters start
 * at the first scrape, and its sums over several processes lack the start time.
 */
export function addProcessMetrics(metrics: MetricSink): void {
  const cpu = (name: string, help: string, read: (used: NodeJS.CpuUsage) => number) =>
    metrics.counter(name, help, () => [[{}, read(process.cpuUsage()) / 1e6]]);
  cpu("process_cpu_user_seconds_total", "Total user CPU time spent in seconds.", ({ user }) => user);
  cpu("process_cpu_system_seconds_total", "Total system CPU time spent in seconds.", ({ system }) => system);
  cpu(
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
    ({ user, system }) => user + system,
  );
  metrics.gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds; with several workers, of their supervisor.",
    () => [[{}, performance.timeOrigin / 1_000]],
    "min",
  );
}
