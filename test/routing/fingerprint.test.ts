import assert from "node:assert/strict";
import { test } from "node:test";
import { diffMaps, fingerprint, parseMap } from "../../src/routing/fingerprint.js";
import { DEFAULT_RULES, type ShardMap, ShardMapError } from "../../src/routing/map.js";
import { rule, shards } from "./support.js";

const map: ShardMap = { shards: shards("a", "b", "c"), rules: [rule("/x/", 2), rule("\xff\x01", 0, "b")] };

test("equal maps have equal fingerprints, written in any way", async () => {
  const own = await fingerprint(map);
  const reordered = { ...map, rules: [...map.rules].reverse() };
  const spelledOut = { ...map, rules: [...map.rules, ...DEFAULT_RULES] };
  for (const same of [reordered, spelledOut]) {
    assert.deepEqual(await fingerprint(same), own);
    assert.deepEqual(diffMaps(map, same), []);
  }
});

test("fingerprints never change", async () => {
  const { text, id } = await fingerprint(map);
  assert.equal(
    text,
    '{"version":1,"shards":[{"name":"a","weight":1},{"name":"b","weight":1},{"name":"c","weight":1}],' +
      '"rules":[{"prefix":"","delimiter":47,"segments":1},{"prefix":"L2FwaXNpeC8=","delimiter":47,"segments":1},' +
      '{"prefix":"L3JlZ2lzdHJ5Lw==","delimiter":47,"segments":1},' +
      '{"prefix":"L3gv","delimiter":47,"segments":2},{"prefix":"/wE=","delimiter":47,"segments":0,"shard":"b"}]}',
  );
  assert.equal(id, 6582227506513989406n);
});

test("parseMap restores the map of a fingerprint", async () => {
  const own = await fingerprint(map);
  const back = parseMap(own.text);
  assert.deepEqual(await fingerprint(back), own);
  assert.deepEqual(diffMaps(map, back), []);
});

test("parseMap refuses malformed texts and other versions", () => {
  assert.throws(() => parseMap("{"), ShardMapError);
  assert.throws(() => parseMap("null"), ShardMapError);
  assert.throws(() => parseMap('{"version":2}'), /has version 2, this program knows 1/);
});

test("each change that moves a key or an index changes the fingerprint and is described", async () => {
  const [x, pinned] = map.rules;
  const changed: [ShardMap, string[]][] = [
    [{ ...map, shards: shards("a", "b", "c", "d") }, ["shard d is new"]],
    [{ ...map, shards: shards("a", "c") }, ["shard b is gone"]],
    [{ ...map, shards: shards("b", "a", "c") }, ["the order of the shards is b, a, c instead of a, b, c"]],
    [{ ...map, shards: shards("a", "x", "c") }, ["shard b is gone", "shard x is new"]],
    [
      { ...map, shards: map.shards.map(({ name }) => ({ name, weight: name === "b" ? 2 : 1 })) },
      ["shard b has weight 2 instead of 1"],
    ],
    [
      { ...map, rules: [x] },
      ['the rule for prefix "\\xff\\x01" (delimiter "/", segments 0, shard b) is gone'],
    ],
    [
      { ...map, rules: [rule("/x/", 3), pinned] },
      ['the rule for prefix "/x/" is delimiter "/", segments 3 instead of delimiter "/", segments 2'],
    ],
    [
      { ...map, rules: [...map.rules, rule("", 2)] },
      [
        'the rule for prefix "/apisix/" (delimiter "/", segments 1) is gone',
        'the rule for prefix "/registry/" (delimiter "/", segments 1) is gone',
        'the rule for all other keys is delimiter "/", segments 2 instead of delimiter "/", segments 1',
      ],
    ],
    [
      { ...map, rules: [...map.rules, rule("/y", 1)] },
      ['the rule for prefix "/y" (delimiter "/", segments 1) is new'],
    ],
  ];
  const own = await fingerprint(map);
  for (const [other, differences] of changed) {
    assert.deepEqual(diffMaps(map, other), differences);
    const theirs = await fingerprint(other);
    assert.notEqual(theirs.text, own.text);
    assert.notEqual(theirs.id, own.id);
  }
});
