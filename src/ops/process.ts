import type { MetricSink } from "./samples.js";

/**
 * What a process has used since it began, under the names that prom-client gives them: its own counters begin when they
 * are made, and its start time is left out of the totals of several processes.
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
    "Start time of the process since unix epoch in seconds; with several workers, of the process that watches over them.",
    () => [[{}, performance.timeOrigin / 1_000]],
    "min",
  );
}
