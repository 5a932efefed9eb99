import assert from "node:assert/strict";
import { test } from "node:test";
import { runSequence } from "./sequence.js";

/*
 * Random operations on a plain etcd and on a store over three shards: every answer must be equal. `SEED` runs one
 * seed again, `SEEDS` and `OPS` make it run longer.
 */

const operations = Number(process.env.OPS ?? 400);
const count = process.env.SEED === undefined ? Number(process.env.SEEDS ?? 4) : 1;
const first = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

for (let i = 0; i < count; i++) {
  const seed = first + i;
  const dedicatedHost = seed % 4 === 0;
  const proxies = 1 + (seed % 2);
  const where = dedicatedHost ? "a timeline host of its own" : "the timeline on a shard";
  test(`SEED=${seed}: ${operations} operations as on one etcd, ${where}, proxies: ${proxies}`, async (t) => {
    const counts = await runSequence({ seed, operations, dedicatedHost, proxies });
    t.diagnostic(JSON.stringify(Object.fromEntries([...counts].sort())));
    assert.ok(counts.has("Put") && counts.has("Range"));
  });
}
