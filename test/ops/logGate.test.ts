import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import { LogGate } from "../../src/ops/logGate.js";

test("a few lines of each kind pass, the rest are reported as a number", async () => {
  const told = new EventEmitter();
  const gate = new LogGate((kind, count) => told.emit("held", kind, count), 3, 50);
  const keepAlive = setInterval(() => {}, 1_000);
  const held = once(told, "held");
  const passed = Array.from({ length: 10 }, () => gate.passes("a")).filter(Boolean);
  assert.equal(passed.length, 3);
  assert.ok(gate.passes("b"), "another kind is not held back by it");
  assert.deepEqual(await held, ["a", 7]);
  assert.ok(gate.passes("a"), "in the next interval they pass again");
  clearInterval(keepAlive);
});
