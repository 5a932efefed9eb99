import assert from "node:assert/strict";
import { test } from "node:test";
import { AFTER_ALL_KEYS, type TextRange, textRange } from "../../src/watch/keys.js";
import { RangeIndex } from "../../src/watch/rangeIndex.js";
import { newSeed, random } from "./random.js";

test("finds exactly the values of the ranges that hold a key, while ranges come and go", () => {
  const seed = newSeed("index");
  const next = random(seed);
  const letters = ["", "a", "b", "ab", "ba", "\x01", "\xff", "\x00", "aa", "b\x00"];
  const text = () => Array.from({ length: 1 + next(4) }, () => letters[next(letters.length)]).join("");
  const index = new RangeIndex<number>(Math.random);
  const members = new Map<number, TextRange>();
  for (let step = 0; step < 20_000; step++) {
    const choice = next(10);
    if (choice < 4) {
      const [begin, other] = [text(), text()].sort();
      const end = next(4) === 0 ? `${begin}\0` : next(8) === 0 ? AFTER_ALL_KEYS : other;
      const known = [...members].find(([, range]) => range.begin === begin && range.end === end);
      assert.equal(index.get({ begin, end }), known?.[0]);
      if (begin < end && known === undefined) {
        members.set(step, { begin, end });
        index.set({ begin, end }, step);
      }
    } else if (choice < 7 && members.size > 0) {
      const member = [...members.keys()][next(members.size)];
      const range = members.get(member)!;
      members.delete(member);
      index.delete(range);
      index.delete(range);
    } else {
      const key = text();
      const found: number[] = [];
      index.find(key, (member) => found.push(member));
      const expected = [...members].filter(([, { begin, end }]) => begin <= key && key < end);
      assert.deepEqual(
        found.sort((a, b) => a - b),
        expected.map(([member]) => member),
        `key ${JSON.stringify(key)}, seed ${seed}, step ${step}`,
      );
    }
    if (step % 100 === 0) {
      assert.deepEqual(
        [...index.values()].sort((a, b) => a - b),
        [...members.keys()],
      );
    }
  }
});

test("a lookup does not scan all ranges", () => {
  // 200,000 ranges. By brute force, 10,000 lookups are 2,000,000,000 comparisons, which take far longer.
  const index = new RangeIndex<number>(Math.random);
  const count = 200_000;
  const name = (i: number) => Buffer.from(`/registry/pods/${String(i).padStart(8, "0")}/`);
  for (let i = 0; i < count; i++) index.set(textRange(name(i), name(i + 1)), i);
  const started = process.cpuUsage();
  for (let i = 0; i < 10_000; i++) {
    const wanted = (i * 7919) % count;
    const hits: number[] = [];
    index.find(`${name(wanted).toString()}x`, (member) => hits.push(member));
    assert.deepEqual(hits, [wanted]);
  }
  const { user } = process.cpuUsage(started);
  assert.ok(user < 1_000_000, `${user} µs`);
});

test("range ends follow etcd's rules", () => {
  const bytes = (...values: number[]) => Uint8Array.from(values);
  assert.deepEqual(textRange(bytes(97), bytes()), { begin: "a", end: "a\0" });
  assert.deepEqual(textRange(bytes(97), bytes(0)), { begin: "a", end: AFTER_ALL_KEYS });
  assert.deepEqual(textRange(bytes(97, 255), bytes(98)), { begin: "a\xff", end: "b" });
});
