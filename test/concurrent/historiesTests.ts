import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./run.js";
import { type Defaults, eachSeed } from "./seeds.js";

/**
 * Clients and watchers on two proxies over three shards while etcds and proxies are killed, restarted and stopped for
 * seconds: the recorded history must be one that a single etcd could have had. `SEED` chooses the same operations and the
 * same strokes again (not the same timing), `SEEDS` and `SECONDS` make it run longer. A failing history is kept in a
 * file, which check-history.ts checks again.
 */
export const testHistories = (defaults: Defaults): void => eachSeed(defaults, testSeed);

function testSeed(seed: number, seconds: number): void {
  const compactions = seed % 2 === 1;
  const hostMembers = [3, 0, 3, 1][seed % 4]!;
  const workers = seed % 4 < 2 ? 1 : 2;
  const how = [
    hostMembers > 0 ? `timeline host of its own, members: ${hostMembers}` : "timeline on a shard",
    ...(compactions ? ["compactions"] : []),
    ...(workers > 1 ? ["two workers each"] : []),
  ];
  test(`SEED=${seed}: one history while processes die, ${how.join(", ")}`, async (t) => {
    const summary = await run({ seed, seconds, compactions, hostMembers, workers, plans: false });
    t.diagnostic(JSON.stringify(summary));
    assert.ok(summary.answered > 50 && summary.frames > 50, "hardly anything was tried");
  });
}
