import assert from "node:assert/strict";
import { test } from "node:test";
import { ShardSet } from "../../src/shard/shardSet.js";

test("has each item under its index, and lists those in use by index", () => {
  const set = ShardSet.of([{ index: 0 }, { index: 2 }]);
  assert.equal(set.at(2).index, 2);
  for (const index of [-1, 1, 3]) {
    assert.throws(() => set.at(index), new RangeError(`no shard has index ${index}`));
    assert.equal(set.find(index), undefined);
  }
  const before = set.all();
  set.add(1, { index: 1 });
  assert.deepEqual(before, [{ index: 0 }, { index: 2 }], "a list that was returned before stays as it was");
  assert.deepEqual(set.all(), [{ index: 0 }, { index: 1 }, { index: 2 }]);
  assert.deepEqual(
    set.entries().map(([index]) => index),
    [0, 1, 2],
  );
});

test("a retired shard is no longer listed, but is still there under its index", () => {
  const set = ShardSet.of([{ index: 0 }, { index: 1 }]);
  assert.equal(set.first.index, 0);
  set.retire(0);
  set.retire(0);
  assert.deepEqual(set.all(), [{ index: 1 }]);
  assert.equal(set.first.index, 1);
  assert.equal(set.at(0).index, 0);
  assert.equal(set.find(0), undefined);
  set.retire(1);
  assert.throws(() => set.first, /there are no shards/);
});

test("passes followers what is there and each change, in the order in which they began", () => {
  const set = ShardSet.of([{ index: 1 }, { index: 0 }]);
  const seen: string[] = [];
  const stop = set.follow({
    added: (_, index) => seen.push(`first +${index}`),
    retired: (_, index) => seen.push(`first -${index}`),
  });
  set.follow({ added: (_, index) => seen.push(`second +${index}`) });
  assert.deepEqual(seen.splice(0), ["first +0", "first +1", "second +0", "second +1"]);
  set.add(2, { index: 2 });
  set.retire(0);
  assert.deepEqual(seen.splice(0), ["first +2", "second +2", "first -0"]);
  stop();
  set.add(3, { index: 3 });
  assert.deepEqual(seen, ["second +3"]);
});

test("a derived set follows, and replaces the item of a shard that comes back", () => {
  const set = ShardSet.of([{ index: 0, name: "a" }]);
  const ended: string[] = [];
  let made = 0;
  const derived = set.map(
    ({ name }) => `${name} ${++made}`,
    (item) => ended.push(item),
  );
  const twice = derived.map((item, index) => `${index}: ${item}`);
  set.add(1, { index: 1, name: "b" });
  assert.deepEqual(twice.all(), ["0: a 1", "1: b 2"]);
  set.retire(0);
  assert.deepEqual(ended, ["a 1"]);
  assert.deepEqual(twice.all(), ["1: b 2"]);
  assert.equal(twice.at(0), "0: a 1");
  set.add(0, { index: 0, name: "a" });
  assert.deepEqual(twice.all(), ["0: a 3", "1: b 2"]);
});
