import assert from "node:assert/strict";
import { test } from "node:test";
import { RecentMap } from "../../src/auth/recentMap.js";

test("entries that are read stay, others are forgotten, and each entry counts once", () => {
  const recent = new RecentMap<number>(3);
  for (let i = 0; i < 10; i++) {
    recent.set(`other${i}`, i);
    recent.set("kept", i);
    assert.equal(recent.get("kept"), i);
    assert.ok(recent.count <= 6);
  }
  assert.equal(recent.get("other0"), undefined);
  const small = new RecentMap<string>(2);
  for (const key of ["a", "b", "c"]) small.set(key, key);
  assert.equal(small.count, 3);
  assert.equal(small.get("a"), "a");
  assert.equal(small.count, 3, "a has moved");
});
