import assert from "node:assert/strict";
import { test } from "node:test";
import { compareBytes } from "../../src/routing/bytes.js";
import { createRouter } from "../../src/routing/create.js";
import { type RoutingRule, rulesInForce, type ShardMap } from "../../src/routing/map.js";
import type { Router } from "../../src/routing/router.js";
import { bytes, Random, rule, seed, shards, text } from "./support.js";

const five = shards("a", "b", "c", "d", "e");
const all = [0, 1, 2, 3, 4];

test("a range within one group needs one shard", async () => {
  const router = await createRouter({ shards: five, rules: [] });
  const home = [router.shardOf(bytes("/registry/pods"))];
  for (const [from, to] of [
    ["/registry/pods/", "/registry/pods0"],
    ["/registry/pods/ns/", "/registry/pods/ns0"],
    ["/registry/pods/ns/name\0", "/registry/pods0"],
    ["/registry/pods/a", "/registry/pods/b"],
    ["/registry/pods/\xff\xff", "/registry/pods0"],
    ["/registry/pods", "/registry/pods\0"],
    ["/registry/pods/x", ""],
    ["/registry/pods/", "/registry/pods/\0"],
  ]) {
    assert.deepEqual(router.shardsOf(bytes(from), bytes(to)), home, JSON.stringify([from, to]));
  }
  const lock = [router.shardOf(bytes("mylock"))];
  assert.deepEqual(router.shardsOf(bytes("mylock/"), bytes("mylock0")), lock);
});

test("a range wider than a group needs every shard", async () => {
  const router = await createRouter({ shards: five, rules: [] });
  for (const [from, to] of [
    ["/apisix/", "/apisix0"],
    // `/apisix/routes2` also starts with `/apisix/routes`.
    ["/apisix/routes", "/apisix/routet"],
    ["/registry/pods", "/registry/pods0"],
    ["/registry/pods", "/registry/pods/"],
    ["/registry/pods/z", "/registry/pods1"],
    ["\0", "\0"],
    ["", "\0"],
    ["/", "0"],
    ["z", "\0"],
    ["\xff\xff", "\0"],
  ]) {
    assert.deepEqual(router.shardsOf(bytes(from), bytes(to)), all, JSON.stringify([from, to]));
  }
});

test("a range of a few keys needs the shards of these keys", async () => {
  const router = await createRouter({ shards: five, rules: [] });
  const of = (...keys: string[]) => [...new Set(keys.map((key) => router.shardOf(bytes(key))))].sort();
  assert.deepEqual(router.shardsOf(bytes("a"), bytes("a\0\0")), of("a", "a\0"));
  assert.deepEqual(router.shardsOf(bytes("/a/b"), bytes("/a/b\0\0\0")), of("/a/b", "/a/b\0", "/a/b\0\0"));
  // Key and directory are one group. The range has no keys between them.
  assert.deepEqual(router.shardsOf(bytes("/a/b/"), bytes("/a/b/\0")), of("/a/b"));
});

test("an empty range needs no shard", async () => {
  const router = await createRouter({ shards: five, rules: [rule("/p", 0, "b")] });
  for (const [from, to] of [
    ["b", "a"],
    ["a", "a"],
    ["/p/x", "/p/x"],
    ["\x01", "\x01"],
  ]) {
    assert.deepEqual(router.shardsOf(bytes(from), bytes(to)), [], JSON.stringify([from, to]));
  }
});

test("the reserved keyspace belongs to no shard", async () => {
  const router = await createRouter({ shards: five, rules: [rule("\x01", 0, "c")] });
  assert.deepEqual(router.shardsOf(bytes("\0"), bytes("")), []);
  assert.deepEqual(router.shardsOf(bytes("\0braid/log"), bytes("")), []);
  assert.deepEqual(router.shardsOf(bytes(""), bytes("")), []);
  assert.deepEqual(router.shardsOf(bytes("\0"), bytes("\x01")), []);
  assert.deepEqual(router.shardsOf(bytes("\0a"), bytes("\0b")), []);
  assert.deepEqual(router.shardsOf(bytes("\0"), bytes("\x02")), [2]);
});

test("a pinned prefix needs its shard, and so do ranges that touch it", async () => {
  const names = shards("a", "b", "c", "d", "e");
  const router = await createRouter({ shards: names, rules: [rule("/p/", 1, "d"), rule("/p/q/", 1, "b")] });
  assert.equal(router.shardOf(bytes("/p/x/y")), 3);
  assert.equal(router.shardOf(bytes("/p/q/y")), 1);
  assert.deepEqual(router.shardsOf(bytes("/p/"), bytes("/p0")), [1, 3]);
  assert.deepEqual(router.shardsOf(bytes("/p/q/"), bytes("/p/q0")), [1]);
  assert.deepEqual(router.shardsOf(bytes("/p/r"), bytes("/p/s")), [3]);
  assert.deepEqual(router.shardsOf(bytes("/p/a"), bytes("/p/q/")), [3]);
  assert.deepEqual(router.shardsOf(bytes("/p/a"), bytes("/p/q/\0")), [1, 3]);
});

test("where rules cover everything under a prefix, only the prefix itself is hashed", async () => {
  const own = (await createRouter({ shards: five, rules: [] })).shardOf(bytes("x"));
  const [low, high] = all.filter((shard) => shard !== own);
  const rules: RoutingRule[] = [];
  for (let byte = 0; byte < 256; byte++) {
    rules.push(rule(`x${String.fromCharCode(byte)}`, 0, five[byte < 0x80 ? low : high].name));
  }
  const router = await createRouter({ shards: five, rules });
  assert.equal(router.shardOf(bytes("x")), own);
  assert.deepEqual(router.shardsOf(bytes("x"), bytes("y")), [low, high, own].sort());
  assert.deepEqual(router.shardsOf(bytes("x\0"), bytes("y")), [low, high]);
  assert.deepEqual(router.shardsOf(bytes("x\x10"), bytes("x\x20")), [low]);
  assert.deepEqual(router.shardsOf(bytes("x\x90"), bytes("y")), [high]);
});

test("a range of a group takes account of a rule inside the group", async () => {
  const names = await createRouter({ shards: five, rules: [] });
  // The shards that the groups hash to, and a third one to pin to.
  const [x, p] = [names.shardOf(bytes("abx")), names.shardOf(bytes("/p"))];
  const other = all.find((shard) => shard !== x && shard !== p)!;
  const pin = five[other].name;
  const router = await createRouter({
    shards: five,
    rules: [
      rule("ab", 1),
      rule("abx/q", 1, pin),
      rule("/p/", 0),
      rule("/p/q/x", 1, pin),
      rule("/p/\0y", 1, pin),
    ],
  });
  const shardsOf = (from: string, to: string) => router.shardsOf(bytes(from), bytes(to));
  assert.deepEqual(shardsOf("abx/", "abx0"), [x, other].sort());
  assert.deepEqual(shardsOf("abx/r", "abx0"), [x]);
  assert.deepEqual(shardsOf("/p/", "/p0"), [p, other].sort());
  assert.deepEqual(shardsOf("/p/", "/p/a"), [p, other].sort());
  assert.deepEqual(shardsOf("/p/q/", "/p/q/y"), [p, other].sort());
  assert.deepEqual(shardsOf("/p/q/x", "/p/q/y"), [other]);
  assert.deepEqual(shardsOf("/p/q/y", "/p0"), [p]);
});

test("everything after a group is the group if only the delimiter can follow", async () => {
  const router = await createRouter({ shards: five, rules: [rule("", 1, undefined, "\0")] });
  assert.deepEqual(router.shardsOf(bytes("a"), bytes("a\x01")), [router.shardOf(bytes("a"))]);
  assert.deepEqual(router.shardsOf(bytes("a"), bytes("a\x02")), all);
  // The same where a separate rule applies after the delimiter.
  const nested = await createRouter({
    shards: five,
    rules: [rule("", 1, undefined, "\0"), rule("a\0", 1, "b")],
  });
  assert.deepEqual(
    nested.shardsOf(bytes("a"), bytes("a\x01")),
    [...new Set([1, nested.shardOf(bytes("a"))])].sort(),
  );
  assert.deepEqual(nested.shardsOf(bytes("a"), bytes("a\x02")), all);
});

test("a single shard has every range", async () => {
  const router = await createRouter({ shards: shards("only"), rules: [] });
  assert.deepEqual(router.shardsOf(bytes("\0"), bytes("\0")), [0]);
  assert.deepEqual(router.shardsOf(bytes("a"), bytes("a")), []);
});

test("a long key in a range costs no more than its length", { timeout: 10_000 }, async () => {
  const router = await createRouter({ shards: five, rules: [rule("/p/", 1, "d")] });
  const long = "\0".repeat(1_000_000);
  assert.deepEqual(router.shardsOf(bytes(`/a/b/${long}`), bytes("/a/b0")), [router.shardOf(bytes("/a/b"))]);
  assert.deepEqual(router.shardsOf(bytes("/a/b/"), bytes(`/a/b/${long}`)), [router.shardOf(bytes("/a/b"))]);
  assert.deepEqual(router.shardsOf(bytes("/p/"), bytes(`/p/${long}`)), [3]);
  assert.deepEqual(router.shardsOf(bytes("a"), bytes(`a${long}`)), all);
});

const alphabet = "\0\x01ab/0\xff";

/** All keys of up to three characters from the alphabet. */
const smallKeys = (() => {
  const keys = [""];
  for (const key of keys) if (key.length < 3) for (const character of alphabet) keys.push(key + character);
  return keys.filter((key) => key !== "" && key[0] !== "\0").map(bytes);
})();

function randomMap(random: Random): ShardMap {
  const prefixes: string[] = [];
  for (let count = random.below(6); count > 0; count--) {
    // Often inside the previous prefix.
    const outer = random.below(2) === 0 ? (prefixes.at(-1) ?? "") : "";
    const prefix = outer + random.text("ab/\0", 3);
    if (prefix[0] !== "\0" && !prefixes.includes(prefix)) prefixes.push(prefix);
  }
  const rules = prefixes.map((prefix) =>
    rule(
      prefix,
      random.below(4),
      random.below(2) === 0 ? random.pick(five).name : undefined,
      random.below(4) === 0 ? random.pick("b\xff\0") : "/",
    ),
  );
  return { shards: five, rules };
}

/** Returns a range: sometimes empty, often of a few keys, of one group, or up to a neighbour. */
function randomRange(random: Random, stems: readonly string[]): readonly [Uint8Array, Uint8Array] {
  const from = (random.below(3) === 0 ? random.pick(stems) : "") + random.text(alphabet, 5);
  const stem = from.slice(0, from.length - random.below(3));
  switch (random.below(4)) {
    case 0:
      return [bytes(from), bytes(from + "\0".repeat(1 + random.below(6)))];
    case 1:
      return [bytes(from), bytes(stem + random.text("\0\x01a/0", 4))];
    default: {
      const to = (random.below(3) === 0 ? random.pick(stems) : "") + random.text(alphabet, 5);
      const swap = random.below(10) > 0 && to < from && to !== "\0";
      return swap ? [bytes(to), bytes(from)] : [bytes(from), bytes(to)];
    }
  }
}

/** Searches `[from, to)` for a key on each of the `wanted` shards. Returns the shards without one. */
function unreached(
  router: Router,
  map: ShardMap,
  [from, to]: readonly [Uint8Array, Uint8Array],
  wanted: readonly number[],
  random: Random,
) {
  const missing = new Set(wanted);
  const stems = [from, to, ...rulesInForce(map).map(({ prefix }) => prefix)];
  const endless = to.length === 1 && to[0] === 0;
  const visit = (key: Uint8Array) => {
    if (key.length === 0 || key[0] === 0) return;
    if (compareBytes(key, from) < 0 || (!endless && compareBytes(key, to) >= 0)) return;
    missing.delete(router.shardOf(key));
  };
  for (const key of smallKeys) visit(key);
  for (let zeros = 0; zeros < 8; zeros++) visit(Uint8Array.of(...from, ...new Array(zeros).fill(0)));
  for (let tries = 0; tries < 20_000 && missing.size > 0; tries++) {
    // A prefix of either end or of a rule's prefix, one arbitrary byte, and a tail.
    const stem = random.pick(stems);
    const start = stem.subarray(0, random.below(stem.length + 1));
    const byte = random.below(3) === 0 ? random.below(256) : random.pick(bytes(alphabet));
    visit(Uint8Array.of(...start, byte, ...bytes(random.text("ab/\0xyz", 6))));
  }
  return [...missing];
}

test("the shards of a range are exactly those that can hold one of its keys", async (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const sizes = new Map<number, number>();
  for (let round = 0; round < 150; round++) {
    const map = randomMap(random);
    const router = await createRouter(map);
    const stems = ["", ...map.rules.map(({ prefix }) => text(prefix))];
    const homes = smallKeys.map((key) => router.shardOf(key));
    for (let i = 0; i < 40; i++) {
      const [from, to] = randomRange(random, stems);
      if (to.length === 0) continue;
      const found = router.shardsOf(from, to);
      sizes.set(found.length, (sizes.get(found.length) ?? 0) + 1);
      const where = () => {
        const readable = (_: string, value: unknown) => (value instanceof Uint8Array ? text(value) : value);
        const [low, high] = [from, to].map((bytes) => Buffer.from(bytes).toString("hex"));
        return `SEED=${seed} ${JSON.stringify(map.rules, readable)} [${low}, ${high}) gave ${found}`;
      };
      assert.deepEqual([...found], [...new Set(found)].sort(), where());
      const endless = to.length === 1 && to[0] === 0;
      smallKeys.forEach((key, at) => {
        if (compareBytes(key, from) < 0 || (!endless && compareBytes(key, to) >= 0)) return;
        if (!found.includes(homes[at]))
          assert.fail(`${where()}, but ${Buffer.from(key).toString("hex")} is on ${homes[at]}`);
      });
      assert.deepEqual(
        unreached(router, map, [from, to], found, random),
        [],
        `${where()}, of which these have no key`,
      );
    }
  }
  t.diagnostic(`ranges by number of shards: ${JSON.stringify([...sizes].sort())}`);
  for (let size = 0; size <= 5; size++) assert.ok((sizes.get(size) ?? 0) > 0, `no range had ${size} shards`);
});
