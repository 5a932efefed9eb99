import assert from "node:assert/strict";
import { test } from "node:test";
import { WATCH_COST_BYTES, WatchMemory } from "../../src/services/watch/memory.js";
import { SharedBytes } from "../../src/stats/connections.js";

const MIB = 2 ** 20;

test("one connection's watches and waiting requests are bounded, over all its streams", () => {
  const all = new SharedBytes();
  const connection = { watchBytes: 0, requestBytes: 0 };
  const [first, second] = [new WatchMemory(connection, all), new WatchMemory(connection, all)];
  let watches = 0;
  while ((watches % 2 === 0 ? first : second).addWatch(WATCH_COST_BYTES)) watches++;
  assert.equal(watches, (128 * MIB) / WATCH_COST_BYTES);
  // Requests are counted separately: a client at its limit of watches can still cancel some.
  assert.ok(first.addRequest(64 * MIB));
  assert.ok(!second.addRequest(1));
  first.removeRequests(1);
  assert.ok(second.addRequest(1));
  first.removeWatch(WATCH_COST_BYTES);
  assert.ok(second.addWatch(WATCH_COST_BYTES));
  first.close();
  second.close();
  assert.deepEqual({ ...all, ...connection }, { bytes: 0, connections: 0, watchBytes: 0, requestBytes: 0 });
});

test("when all connections together exceed the limit, each keeps its fair share", () => {
  const all = new SharedBytes();
  const open = () => new WatchMemory({ watchBytes: 0, requestBytes: 0 }, all);
  const many = Array.from({ length: 9 }, open);
  // Eight with 128 MiB each reach the limit of all.
  for (const memory of many) memory.addWatch(128 * MIB - WATCH_COST_BYTES);
  assert.ok(!many[0].addWatch(WATCH_COST_BYTES));
  assert.ok(!many[8].addRequest(64 * MIB + 1));
  const late = open();
  assert.ok(late.addWatch(100 * MIB));
  assert.ok(!late.addWatch(3 * MIB));
});
