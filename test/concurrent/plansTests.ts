import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./run.js";
import { type Defaults, eachSeed } from "./seeds.js";

/**
 * As concurrent.test.ts, while plans move the keys between up to five shards, back and forth: the proxy that moves keys, and
 * shards that join or leave, are killed and stopped more often than others. `SEED`, `SEEDS` and `SECONDS` as there.
 */
export const testPlans = (defaults: Defaults): void => eachSeed(defaults, testSeed);

function testSeed(seed: number, seconds: number): void {
  const compactions = seed % 2 === 1;
  const hostMembers = [3, 0, 1, 0][seed % 4]!;
  const workers = seed % 8 < 6 ? 1 : 2;
  const how = [
    hostMembers > 0 ? `timeline host of its own, members: ${hostMembers}` : "timeline on a shard",
    ...(compactions ? ["compactions"] : []),
    ...(workers > 1 ? ["two workers each"] : []),
  ];
  test(`SEED=${seed}: one history while keys move and processes die, ${how.join(", ")}`, async (t) => {
    const summary = await run({ seed, seconds, compactions, hostMembers, workers, plans: true });
    t.diagnostic(JSON.stringify(summary));
    const { answered, frames, moves } = summary;
    assert.ok(answered > 50 && frames > 50 && moves > 0, "hardly anything was tried");
  });
}
