import assert from "node:assert/strict";
import { test } from "node:test";
import { PlanProgress } from "../../src/app/reshard/planProgress.js";
import type { MovedStep } from "../../src/mover/mover.js";
import { newProgress, type Progress } from "../../src/mover/progress.js";

const step = (plan: number, keys: number, pauseMs: number): MovedStep => ({
  plan,
  keys,
  bytes: keys * 10,
  keysPerSecond: 5,
  pauseMs,
});
const idle = (plan: number): Progress => ({ ...newProgress(), plan });

test("totals go on from the record of another mover of the same plan", () => {
  const first = new PlanProgress("a", undefined);
  first.moved(step(3, 100, 20));
  first.moved(step(3, 50, 10));
  const earlier = first.record(idle(3), 1);
  const { keys, bytes, steps, lastPauseMs, longestPauseMs } = earlier;
  assert.deepEqual([keys, bytes, steps, lastPauseMs, longestPauseMs], [150, 1_500, 2, 10, 20]);
  const second = new PlanProgress("b", earlier);
  assert.deepEqual(second.record(idle(3), 2), { ...earlier, proxy: "b", at: 2 });
  second.moved(step(3, 1, 30));
  const next = second.record(idle(3), 3);
  assert.deepEqual([next.keys, next.steps, next.lastPauseMs, next.longestPauseMs], [151, 3, 30, 30]);
});

test("another plan is counted anew", () => {
  const earlier = new PlanProgress("a", undefined);
  earlier.moved(step(3, 100, 20));
  const progress = new PlanProgress("b", earlier.record(idle(3), 1));
  assert.equal(progress.record(idle(4), 2).keys, 0);
  progress.moved(step(4, 7, 1));
  progress.moved(step(5, 8, 2));
  const { keys, longestPauseMs } = progress.record(idle(5), 3);
  assert.deepEqual([keys, longestPauseMs], [8, 2]);
});

test("the step under way is shown apart from the totals, as printable text", () => {
  const progress = new PlanProgress("a", undefined);
  const from = Uint8Array.of(1, 65);
  const moving: Progress = {
    ...idle(1),
    phase: "copy",
    step: { from, to: null },
    stepKeys: 12,
    waiting: "no",
  };
  const record = progress.record(moving, 1);
  assert.deepEqual(
    [record.step, record.stepKeys, record.keys, record.waiting],
    [{ from: "\\x01A", to: null }, 12, 0, "no"],
  );
  const between = progress.record({ ...moving, step: undefined }, 1);
  assert.deepEqual([between.step, between.stepKeys], [null, 0]);
});
