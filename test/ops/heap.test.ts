import assert from "node:assert/strict";
import { test } from "node:test";
import { Departed } from "../../src/ops/heap.js";

test("memory is collected once, after most of many clients have left", () => {
  const departed = new Departed();
  const checks = [0, 5_000, 20_000, 15_000, 3_000, 3_000, 3_000, 2_900, 2_900];
  const collected = checks.map((open) => departed.check(open));
  assert.deepEqual(collected, [false, false, false, false, false, true, false, false, false]);
});

test("it is not collected while clients come and go, or when few leave", () => {
  const departed = new Departed();
  for (const open of [10_000, 9_000, 10_000, 6_000, 6_000, 8_000]) assert.equal(departed.check(open), false);
  const small = new Departed();
  for (const open of [400, 0, 0]) assert.equal(small.check(open), false);
});
