import assert from "node:assert/strict";
import { test } from "node:test";
import { BOUNDS, Histogram } from "../../src/stats/histogram.js";

test("a duration is counted in the first bucket whose bound it does not exceed", () => {
  const edges = BOUNDS.flatMap((bound) => [bound * 1_000 * 0.999, bound * 1_000, bound * 1_000 * 1.001]);
  for (const ms of [0, 0.001, ...edges, 60_000, 1e12]) {
    const histogram = new Histogram();
    histogram.observe(ms);
    const expected = BOUNDS.findIndex((bound) => ms / 1_000 <= bound);
    assert.equal(histogram.buckets.indexOf(1), expected < 0 ? BOUNDS.length : expected, `${ms} ms`);
    assert.deepEqual([histogram.count, histogram.sumMs], [1, ms]);
  }
});
