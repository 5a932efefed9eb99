import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { Lane } from "../../src/lease/lane.js";
import { systemRuntime } from "../../src/turn/runtime.js";

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("lane", () => {
  function place(width: number) {
    const state = { down: false, tried: [] as bigint[], done: [] as bigint[], failed: 0, most: 0, now: 0 };
    const lane = new Lane({
      runtime: systemRuntime,
      width,
      retryMs: 1_000,
      async run(lease) {
        state.tried.push(lease);
        state.most = Math.max(state.most, ++state.now);
        await settled();
        state.now--;
        if (state.down) throw new Error("down");
        state.done.push(lease);
      },
      failed: () => state.failed++,
    });
    return { state, lane };
  }
  const rest = async () => {
    for (let i = 0; i < 50; i++) await settled();
  };
  const many = Array.from({ length: 100 }, (_, i) => BigInt(i));

  test("all work is done once, no more than the width at a time", async () => {
    const { state, lane } = place(4);
    for (const lease of many) lane.add(lease);
    lane.add(99n);
    await rest();
    assert.deepEqual(state.done, many);
    assert.equal(state.most, 4);
  });

  test("a place that is down is tried a few times per pause, and all work is done when it is back", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    const { state, lane } = place(4);
    state.down = true;
    for (const lease of many) lane.add(lease);
    await rest();
    assert.ok(state.tried.length <= 8, `${state.tried.length} attempts`);
    lane.add(1_000n);
    await rest();
    assert.equal(state.tried.at(-1), 1_000n, "a newcomer has its answer at once");
    const before = state.tried.length;
    mock.timers.tick(1_600);
    await rest();
    assert.ok(state.tried.length - before <= 8);
    state.down = false;
    mock.timers.tick(1_600);
    await rest();
    assert.deepEqual(new Set(state.done), new Set([...many, 1_000n]));
    assert.equal(state.done.length, 101);
    mock.timers.reset();
  });

  test("a stopped lane starts nothing", async () => {
    const { state, lane } = place(1);
    for (const lease of many) lane.add(lease);
    lane.stop();
    await rest();
    assert.ok(state.tried.length <= 1);
  });
});
