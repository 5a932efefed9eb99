import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { createRouter } from "../../src/routing/create.js";
import { Hasher } from "../../src/routing/hash.js";
import type { ShardEntry } from "../../src/routing/map.js";
import { ShardMapError } from "../../src/routing/map.js";
import { negativeLog } from "../../src/routing/negativeLog.js";
import { Rendezvous } from "../../src/routing/rendezvous.js";
import { bytes, Random, rule, seed, shards } from "./support.js";

const hasher = await Hasher.load();

/** Returns the name of the winning shard for each of `count` groups. */
function winners(entries: readonly ShardEntry[], count: number): string[] {
  const rendezvous = new Rendezvous(entries, hasher);
  return Array.from({ length: count }, (_, i) => {
    hasher.update(bytes(`/group/${i}`));
    return entries[rendezvous.pick(hasher.high, hasher.low)].name;
  });
}

function tally(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

/** Fails if `actual` of `trials` is more than five standard deviations from a binomial share. */
function assertShare(actual: number, trials: number, share: number, what: string): void {
  const deviation = Math.sqrt(trials * share * (1 - share));
  const off = Math.abs(actual - trials * share) / deviation;
  assert.ok(
    off < 5,
    `${what}: ${actual} of ${trials}, expected ${trials * share}, off by ${off.toFixed(1)} sigma`,
  );
}

const weighted: readonly ShardEntry[] = [
  { name: "one", weight: 1 },
  { name: "two", weight: 2 },
  { name: "also-two", weight: 2 },
  { name: "half", weight: 0.5 },
  { name: "odd", weight: 3.7 },
];

test("the hash is xxh64", () => {
  // The vectors of the xxHash specification's reference implementation.
  assert.equal(hasher.hash(bytes("")), 0xef46db3751d8e999n);
  assert.equal(hasher.hash(bytes("a")), 0xd24ec4f1a98c6e5bn);
  assert.equal(hasher.hash(bytes("abc")), 0x44bc2cf5ad770999n);
  hasher.update(bytes("abc"));
  assert.deepEqual([hasher.high >>> 0, hasher.low >>> 0], [0x44bc2cf5, 0xad770999]);
});

test("negativeLog is exact to 1e-15", (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const draws = [0, 1, 2, 2 ** 51 - 1, 2 ** 51, 2 ** 52 - 2, 2 ** 52 - 1];
  for (let i = 0; i < 20_000; i++)
    draws.push(Math.floor(random.below(2 ** 32) * 2 ** (random.below(41) - 20)));
  for (const drawn of draws) {
    const u = (2 * drawn + 1) / 2 ** 53;
    // Close to 1, `Math.log1p` keeps the digits that `Math.log` loses.
    const exact = u > 0.5 ? -Math.log1p(u - 1) : -Math.log(u);
    const error = Math.abs(negativeLog(drawn) - exact) / exact;
    assert.ok(error < 1e-15, `draw ${drawn}: ${negativeLog(drawn)} instead of ${exact}`);
  }
});

test("every shard gets its share of the groups", () => {
  const count = 100_000;
  const total = weighted.reduce((sum, { weight }) => sum + weight, 0);
  const counts = tally(winners(weighted, count));
  for (const { name, weight } of weighted) assertShare(counts.get(name) ?? 0, count, weight / total, name);
  const equal = tally(winners(shards("a", "b", "c", "d"), count));
  for (const [name, won] of equal) assertShare(won, count, 1 / 4, name);
});

test("a new shard takes its share evenly from all others and moves nothing else", () => {
  const count = 100_000;
  for (const [name, weight] of [
    ["equal", 2],
    ["other", 1.5],
  ] as const) {
    const before = winners(weighted, count);
    const after = winners([...weighted, { name, weight }], count);
    const moved = before.filter((was, i) => was !== after[i]);
    after.forEach((is, i) => {
      if (is !== before[i]) assert.equal(is, name);
    });
    const total = weighted.reduce((sum, shard) => sum + shard.weight, 0);
    assertShare(moved.length, count, weight / (total + weight), "moved");
    const losses = tally(moved);
    for (const shard of weighted) {
      assertShare(
        losses.get(shard.name) ?? 0,
        moved.length,
        shard.weight / total,
        `taken from ${shard.name}`,
      );
    }
  }
});

test("the order of the shards does not matter", () => {
  const before = winners(weighted, 5_000);
  assert.deepEqual(winners([...weighted].reverse(), 5_000), before);
  assert.deepEqual(
    winners(
      [...weighted].sort((a, b) => (a.name < b.name ? -1 : 1)),
      5_000,
    ),
    before,
  );
});

test("only the ratio of the weights matters", () => {
  const before = winners(weighted, 5_000);
  const doubled = weighted.map(({ name, weight }) => ({ name, weight: weight * 2 }));
  assert.deepEqual(winners(doubled, 5_000), before);
});

test("keys of one group share a shard, pinned or not", async () => {
  const router = await createRouter({ shards: shards("a", "b", "c"), rules: [rule("/pin/", 1, "c")] });
  for (let i = 0; i < 100; i++) {
    const home = router.shardOf(bytes(`/app/dir${i}`));
    assert.equal(router.shardOf(bytes(`/app/dir${i}/`)), home);
    assert.equal(router.shardOf(bytes(`/app/dir${i}/x/y`)), home);
    assert.equal(router.shardOf(bytes(`/pin/dir${i}/x`)), 2);
  }
});

test("explain returns rule, group, hash and shard", async () => {
  const pinned = rule("/pin/", 1, "c");
  const router = await createRouter({ shards: shards("a", "b", "c"), rules: [pinned] });
  assert.deepEqual(router.explain(bytes("/pin/x/y")), {
    rule: pinned,
    group: bytes("/pin/x"),
    hash: hasher.hash(bytes("/pin/x")),
    shard: 2,
  });
  const hashed = router.explain(bytes("/app/dir/x"));
  assert.equal(hashed.shard, router.shardOf(bytes("/app")));
  assert.deepEqual(hashed.rule.prefix, bytes(""));
});

test("leases spread over all shards by weight, including negative ids", async () => {
  const router = await createRouter({ shards: weighted, rules: [] });
  const count = 20_000;
  const homes = Array.from({ length: count }, (_, i) => weighted[router.homeOf(BigInt(i - count / 2))].name);
  const total = weighted.reduce((sum, { weight }) => sum + weight, 0);
  const counts = tally(homes);
  for (const { name, weight } of weighted) assertShare(counts.get(name) ?? 0, count, weight / total, name);
});

test("an invalid map is refused", async () => {
  const refused = (map: Parameters<typeof createRouter>[0], message: RegExp) =>
    assert.rejects(
      createRouter(map),
      (error) => error instanceof ShardMapError && message.test(error.message),
    );
  await refused({ shards: [], rules: [] }, /no shards/);
  await refused(
    { shards: shards(...Array.from({ length: 256 }, (_, i) => `s${i}`)), rules: [] },
    /at most 255/,
  );
  await refused({ shards: shards("a", "a"), rules: [] }, /two shards are named "a"/);
  await refused({ shards: [{ name: "a", weight: 0 }], rules: [] }, /weight must be above 0/);
  await refused({ shards: [{ name: "a", weight: Number.NaN }], rules: [] }, /weight must be above 0/);
  await refused(
    { shards: shards("a"), rules: [rule("/x"), rule("/x", 2)] },
    /two rules for the prefix "\/x"/,
  );
  await refused({ shards: shards("a"), rules: [rule("\0x")] }, /reserved/);
  await refused({ shards: shards("a"), rules: [rule("x", 1, "b")] }, /there is no shard "b"/);
  await refused({ shards: shards("a"), rules: [rule("x", 1.5)] }, /segments/);
  await refused({ shards: shards("a"), rules: [{ ...rule("x"), delimiter: 256 }] }, /delimiter/);
});

interface Golden {
  readonly maps: readonly {
    readonly shards: readonly ShardEntry[];
    /** Shard names of `keys` and of `leases`, in their order. */
    readonly keys: readonly string[];
    readonly leases: readonly string[];
  }[];
  /** latin1: one character per byte. */
  readonly keys: readonly string[];
  readonly leases: readonly string[];
}

// Never regenerate golden.json: stored data is where it says.
test("the mapping never changes", async () => {
  const golden: Golden = JSON.parse(readFileSync("test/routing/golden.json", "utf8"));
  assert.ok(golden.keys.length >= 300 && golden.maps.length >= 5);
  for (const map of golden.maps) {
    const router = await createRouter({ shards: map.shards, rules: [rule("", 1), rule("/", 2)] });
    const names = map.shards.map(({ name }) => name);
    const keys = golden.keys.map((key) => names[router.shardOf(bytes(key))]);
    assert.deepEqual(keys, map.keys, `keys over ${names}`);
    const leases = golden.leases.map((lease) => names[router.homeOf(BigInt(lease))]);
    assert.deepEqual(leases, map.leases, `leases over ${names}`);
  }
});
