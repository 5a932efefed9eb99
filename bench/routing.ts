import { createRouter } from "../src/routing/create.js";
import type { ShardEntry } from "../src/routing/map.js";

/**
 * Nanoseconds per routing decision: `node --import tsx bench/routing.ts`. Single-threaded, after warm-up; the best of
 * several rounds, because the others include other work on the machine.
 */
const rounds = 7;
const calls = 200_000;

function measure(what: string, decide: (i: number) => unknown): void {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < calls; i++) decide(i);
    best = Math.min(best, Number(process.hrtime.bigint() - start) / calls);
  }
  console.log(`${what.padEnd(52)} ${best.toFixed(0).padStart(6)} ns`);
}

const names = (count: number): ShardEntry[] =>
  Array.from({ length: count }, (_, i) => ({ name: `shard-${i}`, weight: 1 }));
const utf8 = new TextEncoder();
const keys = Array.from({ length: 1024 }, (_, i) =>
  utf8.encode(`/registry/kind-${i % 40}/default/object-${i}`),
);
const flat = Array.from({ length: 1024 }, (_, i) => utf8.encode(`session-${i}`));
const directory = utf8.encode("/registry/kind-7/default/");
const directoryEnd = utf8.encode("/registry/kind-7/default0");
const wide = utf8.encode("/registry/");
const wideEnd = utf8.encode("/registry0");
const page = utf8.encode("/registry/kind-7/default/object-7\0");
const one = new Uint8Array(0);

for (const count of [3, 16, 255]) {
  const router = await createRouter({ shards: names(count), rules: [] });
  measure(`${count} shards: shardOf, 40 groups`, (i) => router.shardOf(keys[i & 1023]));
  measure(`${count} shards: shardOf, every key a group`, (i) => router.shardOf(flat[i & 1023]));
  measure(`${count} shards: shardsOf, one key`, (i) => router.shardsOf(keys[i & 1023], one));
  measure(`${count} shards: shardsOf, one group`, () => router.shardsOf(directory, directoryEnd));
  measure(`${count} shards: shardsOf, a page of one group`, () => router.shardsOf(page, directoryEnd));
  measure(`${count} shards: shardsOf, all`, () => router.shardsOf(wide, wideEnd));
  measure(`${count} shards: homeOf`, (i) => router.homeOf(BigInt(i)));
}

const mixed = names(3).map((entry, i) => ({ ...entry, weight: i + 1 }));
const router = await createRouter({ shards: mixed, rules: [] });
measure("3 shards of different weights: shardOf, 40 groups", (i) => router.shardOf(keys[i & 1023]));
