import assert from "node:assert/strict";
import { test } from "node:test";
import { runSequence } from "./sequence.js";

/*
 * As differential.test.ts, while shards join and leave and keys move between them, back and forth. Revisions that plans take
 * are skipped on both sides; all else must be equal, old revisions and watches from before the plans included.
 */

const operations = Number(process.env.OPS ?? 250);
const count = process.env.SEED === undefined ? Number(process.env.SEEDS ?? 1) : 1;
const first = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

for (let i = 0; i < count; i++) {
  const seed = first + i;
  const proxies = 1 + (seed % 2);
  const forgetful = seed % 3 === 0;
  test(`SEED=${seed}: ${operations} operations as on one etcd between plans, proxies: ${proxies}`, async (t) => {
    const options = { seed, operations, dedicatedHost: true, proxies, forgetful, plans: true };
    const counts = await runSequence(options);
    t.diagnostic(JSON.stringify(Object.fromEntries([...counts].sort())));
    assert.ok(counts.get("plans with a new map")! > 0, "keys have moved");
  });
}
