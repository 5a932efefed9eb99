import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { chart } from "../../bench/chart.js";
import { withLastRun, withPart } from "../../bench/document.js";
import { type FleetReport, fleetDocument } from "../../bench/fleet/report.js";
import type { Report } from "../../bench/report.js";
import { scaleChart } from "../../bench/scale/chart.js";
import { type ScaleReport, scaleDocument } from "../../bench/scale/report.js";
import { packageRoot } from "../../src/ops/package.js";

const read = (path: string) => readFileSync(join(packageRoot, path), "utf8");
const report: Report = JSON.parse(read("bench/results/latest.json"));
const scale: ScaleReport = JSON.parse(read("bench/results/scale.json"));
const fleet: FleetReport = JSON.parse(read("bench/results/fleet.json"));

test("docs/performance.md shows the figures of the saved results", () => {
  const text = read("docs/performance.md");
  assert.equal(withLastRun(text, report), text);
  assert.equal(withPart(text, "scale", scaleDocument(scale)), text);
  assert.equal(withPart(text, "fleet", fleetDocument(fleet)), text);
});

test("the charts are of the same runs", () => {
  assert.equal(read("bench/results/latest.svg"), chart(report));
  assert.equal(read("bench/results/scale.svg"), scaleChart(scale));
});
