import assert from "node:assert/strict";
import { test } from "node:test";
import { History, type KeyedEvent } from "../../src/watch/history.js";

const event = (key: string, size: number): KeyedEvent => {
  const full = new Uint8Array(size);
  return { key, event: { type: 0, full, plain: full } };
};

test("keeps the newest revisions within its bound, without gaps", () => {
  const history = new History(1_000_000, 7);
  assert.deepEqual([history.first, history.end], [7, 7]);
  for (let revision = 7; revision < 20_000; revision++) {
    const events = revision % 3 === 0 ? [] : [event(`${revision}`, 500), event("other", revision % 1_000)];
    history.push(events);
    assert.equal(history.end, revision + 1);
  }
  // About 600 bytes of events, 600 for two objects, 100 for the revision, for two of three revisions.
  const kept = history.end - history.first;
  assert.ok(kept > 700 && kept < 1_700, `${kept}`);
  for (let revision = history.first; revision < history.end; revision++) {
    const events = history.at(revision);
    assert.equal(events.length, revision % 3 === 0 ? 0 : 2);
    if (events.length > 0) assert.equal(events[0].key, `${revision}`);
  }
  history.restart(50_000);
  assert.deepEqual([history.first, history.end], [50_000, 50_000]);
  history.push([event("a", 1)]);
  assert.equal(history.at(50_000)[0].key, "a");
});

test("a revision larger than the bound is not kept", () => {
  const history = new History(1_000, 2);
  history.push([event("a", 10)]);
  history.push([event("b", 100_000)]);
  assert.deepEqual([history.first, history.end], [4, 4]);
});
