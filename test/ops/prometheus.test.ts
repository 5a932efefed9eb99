import assert from "node:assert/strict";
import { test } from "node:test";
import { addUp, Metrics } from "../../src/ops/prometheus.js";
import { Histogram } from "../../src/stats/histogram.js";
import { Scrape } from "./scrape.js";

function metricsOf(requests: number, revision: number, ms: number): Metrics {
  const metrics = new Metrics(false);
  const histogram = new Histogram();
  histogram.observe(ms);
  metrics.counter("requests_total", "Requests.", () => [[{ method: 'a"b\\c' }, requests]]);
  metrics.gauge("revision", "Revision.", () => [[{}, revision]], "max");
  metrics.histogram("duration_seconds", "Durations.", () => [[{ method: "m" }, histogram]]);
  return metrics;
}

test("values are read at each scrape, and labels are escaped", async () => {
  let count = 1;
  const metrics = new Metrics(false);
  metrics.counter("requests_total", "Requests.", () => [[{ method: 'a"b\\c' }, count]]);
  assert.match(await metrics.text(), /^requests_total\{method="a\\"b\\\\c"\} 1$/m);
  count = 2;
  assert.match(await metrics.text(), /^requests_total\{method="a\\"b\\\\c"\} 2$/m);
});

test("metrics of several processes are combined by their aggregators", async () => {
  const all = [metricsOf(3, 17, 0.2), metricsOf(4, 12, 0.4)];
  // The form in which one process sends them to another.
  const sent = await Promise.all(all.map(async (metrics) => structuredClone(await metrics.values())));
  const totals = new Scrape(await addUp(sent));
  assert.equal(totals.sum("requests_total", {}), 7);
  assert.equal(totals.sum("revision", {}), 17);
  assert.equal(totals.sum("duration_seconds_count", { method: "m" }), 2);
  assert.equal(totals.sum("duration_seconds_bucket", { method: "m", le: "0.00025" }), 1);
  assert.equal(totals.sum("duration_seconds_bucket", { method: "m", le: "0.0005" }), 2);
});

test("CPU time counts from the start of the process, not from the first scrape", async () => {
  const metrics = new Metrics(true);
  const until = performance.now() + 300;
  while (performance.now() < until);
  const { user, system } = process.cpuUsage();
  const scrape = new Scrape(await metrics.text());
  assert.ok(scrape.sum("process_cpu_user_seconds_total", {}) >= user / 1e6);
  assert.ok(scrape.sum("process_cpu_system_seconds_total", {}) >= system / 1e6);
  assert.ok(scrape.sum("process_cpu_seconds_total", {}) >= (user + system) / 1e6);
  const [start] = scrape.of("process_start_time_seconds", {});
  assert.ok(Math.abs(Date.now() / 1_000 - process.uptime() - start!.value) < 1);
  assert.equal(scrape.of("process_start_time_seconds", {}).length, 1);
  assert.equal(scrape.of("process_cpu_seconds_total", {}).length, 1);
});
