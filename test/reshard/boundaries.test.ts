import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bound, compareBounds, endOfPrefix, START } from "../../src/reshard/bound.js";
import { Boundaries } from "../../src/reshard/boundaries.js";
import { createRouter } from "../../src/routing/create.js";
import type { RoutingRule, ShardMap } from "../../src/routing/map.js";
import { Random } from "../timeline/sim/scheduler.js";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
console.log(`seed ${seed}`);

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));
const text = (bound: Bound): string | null => (bound === null ? null : Buffer.from(bound).toString("latin1"));

function randomKey(random: Random): string {
  let key = "";
  for (let n = 1 + random.below(6); n > 0; n--) key += random.pick(["/", "/", "a", "b", "-", "0", "\xff"]);
  return key;
}

function randomMap(random: Random): ShardMap {
  const shards = [
    { name: "s0", weight: 1 },
    { name: "s1", weight: 1 },
  ];
  const rules = new Map<string, RoutingRule>();
  for (let n = random.below(4); n > 0; n--) {
    const prefix = random.chance(0.2) ? "" : randomKey(random).slice(0, 3);
    rules.set(prefix, {
      prefix: bytes(prefix),
      delimiter: random.pick([0x2f, 0x2f, 0x2d, 0xff]),
      segments: random.below(3),
      ...(random.chance(0.3) && { shard: "s1" }),
    });
  }
  return { shards, rules: [...rules.values()] };
}

test("a boundary splits no group of either map and no pinned region", async () => {
  const random = new Random(seed);
  for (let round = 0; round < 150; round++) {
    const maps = [randomMap(random), randomMap(random)];
    const boundaries = new Boundaries(maps);
    const keys = Array.from({ length: 120 }, () => randomKey(random));
    /** The lowest and highest key of each group and each pinned region. No boundary may lie between them. */
    const groups: { name: string; from: Uint8Array; to: Uint8Array }[] = [];
    for (const map of maps) {
      const router = await createRouter(map);
      const byName = new Map<string, Uint8Array[]>();
      for (const key of keys.map(bytes)) {
        const { rule, group } = router.explain(key);
        const name = rule.shard === undefined ? `group ${text(group)}` : `pinned ${text(rule.prefix)}`;
        byName.set(name, [...(byName.get(name) ?? []), key]);
      }
      for (const [name, members] of byName) {
        const sorted = members.sort(compareBounds);
        groups.push({ name, from: sorted[0], to: sorted[sorted.length - 1] });
      }
    }
    for (const key of keys) {
      const above = boundaries.above(bytes(key));
      const below = boundaries.below(bytes(key));
      assert.ok(compareBounds(above, bytes(key)) >= 0 && compareBounds(below, bytes(key)) <= 0);
      assert.ok(compareBounds(below, START) >= 0, "never below the first key");
      for (const place of [above, below]) {
        for (const { name, from, to } of groups) {
          const split = compareBounds(from, place) < 0 && compareBounds(place, to) <= 0;
          assert.ok(
            !split,
            `round ${round}: ${text(place)} (from ${key}) splits ${name}: ${text(from)} … ${text(to)}`,
          );
        }
      }
      assert.deepEqual(boundaries.above(above), above, "a boundary is found from both sides");
      if (above !== null) assert.deepEqual(boundaries.below(above), above);
    }
  }
});

test("boundaries of the default rules lie between groups", () => {
  const boundaries = new Boundaries([{ shards: [{ name: "s0", weight: 1 }], rules: [] }]);
  const above = (key: string) => text(boundaries.above(bytes(key)));
  assert.equal(above("/a"), "/a");
  assert.equal(above("/a/b"), "/a0");
  assert.equal(above("/a-1"), "/a0", "/a-1 lies between /a and /a/b");
  assert.equal(above("/ab"), "/ab");
  assert.equal(above("/apisix/routes/1"), "/apisix/routes0");
  assert.equal(above("/apisix/s"), "/apisix/s");
  assert.equal(above("lock/694d"), "lock0");
  assert.equal(text(boundaries.below(bytes("/a/b"))), "/a");
  assert.equal(boundaries.above(null), null);
});

test("the end of a prefix lies above every key that begins with it", () => {
  assert.equal(text(endOfPrefix(bytes("/a"))), "/b");
  assert.equal(text(endOfPrefix(bytes("/a\xff"))), "/b");
  assert.equal(endOfPrefix(bytes("\xff\xff")), null);
});
