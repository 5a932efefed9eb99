import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { chart } from "../../bench/chart.js";
import { withLastRun } from "../../bench/document.js";
import type { Report } from "../../bench/report.js";
import { packageRoot } from "../../src/ops/package.js";

const read = (path: string) => readFileSync(join(packageRoot, path), "utf8");
const report: Report = JSON.parse(read("bench/results/latest.json"));

test("docs/performance.md shows the figures of bench/results/latest.json", () => {
  const text = read("docs/performance.md");
  assert.equal(withLastRun(text, report), text);
});

test("the chart is of the same run", () => {
  assert.equal(read("bench/results/latest.svg"), chart(report));
});
