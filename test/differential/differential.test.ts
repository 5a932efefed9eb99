import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseOps } from "./ops.js";
import { runSequence } from "./sequence.js";

/*
 * Random operations on a plain etcd and on a store: every answer must be equal. `SEED` runs one
 * seed again, `SEEDS` and `OPS` make it run longer. A failure leaves its operations in a file, one in a line; `REPLAY` (with
 * the seed) runs such a file, from which lines may be taken out to find those that matter.
 */

const operations = Number(process.env.OPS ?? 400);
const count = process.env.SEED === undefined ? Number(process.env.SEEDS ?? 4) : 1;
const replay = process.env.REPLAY ? parseOps(readFileSync(process.env.REPLAY, "utf8")) : undefined;
const first = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

for (let i = 0; i < count; i++) {
  const seed = first + i;
  const dedicatedHost = seed % 4 === 0;
  const proxies = 1 + (seed % 2);
  const forgetful = seed % 3 === 0;
  const shards = seed % 4 === 1 ? 1 : 3;
  const where = dedicatedHost ? "a timeline host of its own" : "the timeline on a shard";
  const store = `shards: ${shards}, ${where}, proxies: ${proxies}`;
  test(`SEED=${seed}: ${operations} operations as on one etcd, ${store}`, async (t) => {
    const options = { seed, operations, dedicatedHost, shards, proxies, forgetful, replay };
    const counts = await runSequence(options);
    t.diagnostic(JSON.stringify(Object.fromEntries([...counts].sort())));
    assert.ok(counts.has("Put") && counts.has("Range"));
  });
}
