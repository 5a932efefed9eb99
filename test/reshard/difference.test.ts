import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bound, compareBounds, START } from "../../src/reshard/bound.js";
import { Boundaries } from "../../src/reshard/boundaries.js";
import { MapComparison, type PlacedMap } from "../../src/reshard/difference.js";
import { compareBytes } from "../../src/routing/bytes.js";
import { createRouter } from "../../src/routing/create.js";
import { Hasher } from "../../src/routing/hash.js";
import type { RoutingRule, ShardMap } from "../../src/routing/map.js";
import { Random } from "../timeline/sim/scheduler.js";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
console.log(`seed ${seed}`);

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));
const text = (key: Uint8Array): string => Buffer.from(key).toString("latin1");

const mapOf = (
  names: string,
  rules: readonly RoutingRule[] = [],
  weights: readonly number[] = [],
): ShardMap => ({
  shards: [...names].map((name, i) => ({ name, weight: weights[i] ?? 1 })),
  rules,
});
const rule = (prefix: string, segments: number, shard?: string): RoutingRule => ({
  prefix: bytes(prefix),
  delimiter: 0x2f,
  segments,
  ...(shard !== undefined && { shard }),
});

/** Shards with equal names are one cluster. */
function placed(map: ShardMap): PlacedMap {
  return { map, clusters: map.shards.map(({ name }) => name.charCodeAt(0)) };
}
const cluster = (name: string): number => name.charCodeAt(0);
const nameOf = (number: number): string => String.fromCharCode(number);

/** Compares the maps for keys that are where the first map places them, unless `at` says where they are. */
async function compare(
  from: PlacedMap,
  to: PlacedMap,
  keys: readonly string[],
  at: ReadonlyMap<string, number> = new Map(),
  stepKeys?: number,
) {
  const comparison = new MapComparison(from, to, await Hasher.load(), stepKeys);
  const router = await createRouter(from.map);
  for (const key of [...new Set(keys)].map(bytes).sort(compareBytes)) {
    comparison.add(key, at.get(text(key)) ?? from.clusters[router.shardOf(key)]!);
  }
  return comparison.result();
}

const keysOf = (groups: number, each: number): string[] =>
  Array.from({ length: groups * each }, (_, i) => `/g${Math.floor(i / each)}/k${i % each}`);

test("every key that moves is counted, by source and destination, with its group", async () => {
  const random = new Random(seed);
  for (let round = 0; round < 60; round++) {
    const maps = [0, 1].map(() => {
      const names = random.pick(["a", "ab", "abc", "bcd", "abcd"]);
      const rules = [rule("", 1 + random.below(2))];
      if (random.chance(0.5)) rules.push(rule("/g1", 1, random.pick([...names])));
      if (random.chance(0.5)) rules.push(rule("/g2/", random.below(3)));
      return mapOf(names, rules, [1, 1 + random.below(3)]);
    });
    const [from, to] = maps.map(placed) as [PlacedMap, PlacedMap];
    const keys = [...keysOf(20, 5), ...keysOf(8, 3).map((key) => `${key}/x`)];
    const result = await compare(from, to, keys);
    const [before, after] = await Promise.all([createRouter(from.map), createRouter(to.map)]);
    const expected = new Map<string, { keys: number; groups: Set<string> }>();
    const counts = new Map<number, number>();
    for (const key of keys.map(bytes)) {
      const [source, { shard, group }] = [from.map.shards[before.shardOf(key)]!.name, after.explain(key)];
      const destination = to.map.shards[shard]!.name;
      counts.set(cluster(destination), (counts.get(cluster(destination)) ?? 0) + 1);
      if (source === destination) continue;
      const row = expected.get(`${source}>${destination}`) ?? { keys: 0, groups: new Set() };
      expected.set(`${source}>${destination}`, row);
      row.keys++;
      row.groups.add(text(group));
    }
    assert.equal(result.keys, keys.length);
    assert.deepEqual(new Map([...result.after].sort()), new Map([...counts].sort()));
    assert.deepEqual(
      result.movements.map(({ from, to, keys, groups }) => [`${nameOf(from)}>${nameOf(to)}`, keys, groups]),
      [...expected].sort().map(([id, { keys, groups }]) => [id, keys, groups.size]),
      `round ${round}, seed ${seed}`,
    );
    for (const { keys, sample } of result.movements) assert.equal(sample.length, keys);
  }
});

test("nothing moves between equal maps, also in another order", async () => {
  const keys = keysOf(50, 3);
  const result = await compare(placed(mapOf("abc")), placed(mapOf("cab")), keys);
  assert.deepEqual([result.movements, result.steps, result.splits, result.largestStep], [[], 0, [], 0]);
  assert.deepEqual(result.before, result.after);
  assert.equal(
    [...result.before.values()].reduce((sum, each) => sum + each),
    keys.length,
  );
});

test("when another cluster takes a shard's name, all of the shard's keys move there and no others", async () => {
  const from = placed(mapOf("abc"));
  const to = { map: from.map, clusters: [cluster("a"), 999, cluster("c")] };
  const result = await compare(from, to, keysOf(50, 3));
  assert.deepEqual(
    result.movements.map(({ from, to, keys }) => [nameOf(from), to, keys]),
    [["b", 999, result.before.get(cluster("b"))]],
  );
});

test("a step splits no group, and a group that is larger than a step moves at once", async () => {
  const [one, two] = [placed(mapOf("a")), placed(mapOf("b"))];
  const stepsOf = async (from: PlacedMap, to: PlacedMap, keys: readonly string[]) => {
    const { steps, largestStep } = await compare(from, to, keys, undefined, 1_000);
    return [steps, largestStep];
  };
  assert.deepEqual(await stepsOf(one, two, keysOf(1, 2_500)), [1, 2_500]);
  // Groups of 3 keys: 333 groups fit into a step.
  assert.deepEqual(await stepsOf(one, two, keysOf(1_000, 3)), [4, 999]);
  assert.deepEqual(await stepsOf(one, two, [...keysOf(3, 1_200), "/h/1", "/h/2"]), [4, 1_200]);
  // A pinned prefix is not split either, nor are the groups of the other map.
  assert.deepEqual(await stepsOf(one, placed(mapOf("b", [rule("/", 1, "b")])), keysOf(1_000, 3)), [1, 3_000]);
  const two2 = mapOf("a", [rule("", 2)]);
  assert.deepEqual(await stepsOf(placed(two2), two, keysOf(1, 2_500)), [1, 2_500]);
  assert.deepEqual(
    await stepsOf(placed(two2), placed(mapOf("b", [rule("", 2)])), keysOf(1, 2_500)),
    [3, 1_000],
  );
});

test("the steps are those that a sweep with the same bounds takes", async () => {
  const random = new Random(seed);
  for (let round = 0; round < 100; round++) {
    const names = ["ab", "abc"];
    const maps = names.map((name) =>
      mapOf(name, [rule("", 1 + random.below(2)), rule("/g2", random.below(2))]),
    );
    const keys = [
      ...keysOf(1 + random.below(9), 1 + random.below(9)),
      ...keysOf(5, 2).map((key) => `${key}/x`),
    ];
    const limit = 1 + random.below(8);
    const [from, to] = maps.map(placed) as [PlacedMap, PlacedMap];
    const result = await compare(from, to, keys, undefined, limit);
    const [before, after] = await Promise.all(maps.map(createRouter));
    const moving = [...new Set(keys)]
      .map(bytes)
      .filter(
        (key) => maps[0]!.shards[before!.shardOf(key)]!.name !== maps[1]!.shards[after!.shardOf(key)]!.name,
      )
      .sort(compareBytes);
    const boundaries = new Boundaries(maps);
    const sizes: number[] = [];
    for (let cursor: Bound = START; cursor !== null; ) {
      const rest = moving.filter((key) => compareBounds(cursor, key) <= 0);
      const mark = rest[limit];
      const below = mark === undefined ? null : boundaries.below(mark);
      const end: Bound =
        mark === undefined || compareBounds(below, cursor) > 0 ? below : boundaries.above(mark);
      sizes.push(rest.filter((key) => compareBounds(key, end) < 0).length);
      cursor = end;
    }
    const steps = sizes.filter((size) => size > 0);
    assert.deepEqual(
      [result.steps, result.largestStep],
      [steps.length, Math.max(0, ...steps)],
      `round ${round}, seed ${seed}`,
    );
  }
});

test("the groups that a finer rule splits are found, the largest first", async () => {
  const keys = ["/t/a/1", "/t/a/2", "/t/b/1", "/u/a/1", "/v/a/1", "/v/a/2", "/v/b/1", "/v/c/1"];
  const to = placed(mapOf("ab", [rule("", 2)]));
  const { splits } = await compare(placed(mapOf("ab")), to, keys);
  const router = await createRouter(to.map);
  const clusters = (of: string) =>
    new Set(keys.filter((key) => key.startsWith(of)).map((key) => router.shardOf(bytes(key)))).size;
  assert.deepEqual(
    splits.map(({ name, isPinned, keys, parts, clusters }) => [text(name), isPinned, keys, parts, clusters]),
    [
      ["/v", false, 4, 3, clusters("/v")],
      ["/t", false, 3, 2, clusters("/t")],
    ],
  );
});

test("a prefix that is no longer pinned is split; a coarser rule and a new pin split nothing", async () => {
  const keys = ["/p/a/1", "/p/b/1", "/p/c/1", "/q/a/1"];
  const pinned = mapOf("ab", [rule("/p/", 1, "a")]);
  const { splits } = await compare(placed(pinned), placed(mapOf("ab", [rule("/p/", 1)])), keys);
  assert.deepEqual(
    splits.map(({ name, isPinned, keys, parts }) => [text(name), isPinned, keys, parts]),
    [["/p/", true, 3, 3]],
  );
  assert.deepEqual((await compare(placed(mapOf("ab", [rule("", 2)])), placed(mapOf("ab")), keys)).splits, []);
  assert.deepEqual((await compare(placed(mapOf("ab", [rule("/p/", 1)])), placed(pinned), keys)).splits, []);
  assert.deepEqual((await compare(placed(mapOf("ab")), placed(mapOf("a", [rule("", 2)])), keys)).splits, []);
});

test("keys on a shard that the old map does not place there are found and not moved", async () => {
  const keys = keysOf(30, 2);
  const router = await createRouter(mapOf("ab"));
  const wrong = keys
    .filter((key) => router.shardOf(bytes(key)) === 0)
    .slice(0, 3)
    .sort();
  const at = new Map(wrong.map((key) => [key, cluster("b")]));
  const plain = await compare(placed(mapOf("ab")), placed(mapOf("b")), keys);
  const result = await compare(placed(mapOf("ab")), placed(mapOf("b")), keys, at);
  assert.deepEqual(
    [...result.misplaced].map(([on, { keys, example }]) => [nameOf(on), keys, text(example)]),
    [["b", 3, wrong[0]]],
  );
  assert.equal(result.movements[0]!.keys, plain.movements[0]!.keys - 3);
  assert.equal(result.after.get(cluster("b")), keys.length);
});

test("a sample of many keys is evenly spaced", async () => {
  const keys = keysOf(1, 10_000).sort();
  const { movements } = await compare(placed(mapOf("a")), placed(mapOf("b")), keys);
  const sample = movements[0]!.sample.map(text);
  assert.ok(sample.length > 100 && sample.length <= 256, `${sample.length}`);
  const places = sample.map((key) => keys.indexOf(key));
  const gaps = new Set(places.slice(1).map((place, i) => place - places[i]!));
  assert.equal(gaps.size, 1);
  assert.ok(places.at(-1)! + [...gaps][0]! >= keys.length);
});
