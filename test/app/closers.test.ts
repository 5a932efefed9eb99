import assert from "node:assert/strict";
import { test } from "node:test";
import { Closers } from "../../src/app/closers.js";

test("what was opened last is closed first, and a failure keeps nothing open", async () => {
  const closed: string[] = [];
  const closers = new Closers();
  closers.add(() => closed.push("store"));
  closers.add(async () => {
    closed.push("pages");
    throw new Error("pages can not be closed");
  });
  closers.add(() => closed.push("server"));
  await assert.rejects(closers.close(), /pages can not be closed/);
  assert.deepEqual(closed, ["server", "pages", "store"]);
  await closers.close();
  assert.equal(closed.length, 3, "nothing is closed twice");
});
