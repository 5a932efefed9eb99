import assert from "node:assert/strict";
import { test } from "node:test";
import { Settings } from "../../src/app/settings.js";
import { parseConfig } from "../../src/config/load.js";

const config = (more: object) =>
  parseConfig(JSON.stringify({ shards: [{ name: "a", endpoints: ["10.0.0.1:2379"] }], ...more }), "test");

test("live settings are applied, the others are named", () => {
  const settings = new Settings(config({ limits: { maxTxnOps: 10 } }));
  const next = config({
    listen: ["127.0.0.1:3379"],
    shards: [{ name: "a", endpoints: ["10.0.0.9:2379"] }],
    routing: { rules: [{ prefix: "/x/" }] },
    limits: { maxTxnOps: 20, connectTimeoutMs: 1 },
    log: { level: "debug" },
    http: { cors: ["*"] },
    transport: "grpc-js",
    tracing: { endpoint: "http://127.0.0.1:4318/v1/traces" },
  });
  const needsRestart = ["limits.connectTimeoutMs", "listen", "routing", "shards", "tracing", "transport"];
  const { applied, ...rest } = settings.reload(next);
  assert.deepEqual([...applied].sort(), ["http.cors", "limits.maxTxnOps", "log.level"]);
  assert.deepEqual([...rest.needsRestart].sort(), needsRestart);
  const { limits, log, listen, http } = settings.config;
  assert.deepEqual(
    [limits.maxTxnOps, limits.connectTimeoutMs, log.level, http.cors, listen],
    [20, 2_000, "debug", ["*"], ["127.0.0.1:2379"]],
  );
  // Settings that need a restart are named again. Applied ones are not.
  const again = settings.reload(next);
  assert.deepEqual([again.applied, [...again.needsRestart].sort()], [[], needsRestart]);
});

test("sections that other code holds are updated in place", () => {
  const settings = new Settings(config({}));
  const { limits, watch } = settings.config;
  settings.reload(config({ limits: { maxTxnOps: 5 }, watch: { progressNotifyMs: 77 } }));
  assert.deepEqual([limits.maxTxnOps, watch.progressNotifyMs], [5, 77]);
});

test("every live setting is taken over", () => {
  const settings = new Settings(config({}));
  const next = config({
    limits: { maxTxnOps: 1 },
    reads: "relaxed",
    watch: { streamBufferBytes: 2, progressNotifyMs: 3 },
    http: { cors: ["*"], hosts: ["h"] },
    log: { level: "debug", slowRequestMs: 4 },
    shutdown: { graceMs: 5 },
  });
  const { applied, needsRestart } = settings.reload(next);
  assert.deepEqual([applied.length, needsRestart], [9, []]);
  assert.deepEqual(settings.config, next);
});
