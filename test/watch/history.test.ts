import assert from "node:assert/strict";
import { test } from "node:test";
import { Slabs } from "../../src/turn/slabs.js";
import { History, type KeyedEvent } from "../../src/watch/history.js";
import { WatchResponse } from "../../src/wire/messages.js";
import { decodeWatch, encodeEvent } from "../../src/wire/watch.js";

const event = (key: string, size: number): KeyedEvent => {
  const full = new Uint8Array(size);
  return { key, event: { type: 0, full, plain: full, bytes: size } };
};

test("keeps the newest revisions within its bound, without gaps", () => {
  const history = new History(1_000_000, 7);
  assert.deepEqual([history.first, history.end], [7, 7]);
  for (let revision = 7; revision < 20_000; revision++) {
    const events = revision % 3 === 0 ? [] : [event(`${revision}`, 500), event("other", revision % 1_000)];
    history.push(events);
    assert.equal(history.end, revision + 1);
  }
  // Two of three revisions have about 600 bytes of events, 600 for two objects, and 100 for the revision.
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

test("copies without previous keys are counted from the start, and do not share memory with others", () => {
  const { allocate } = new Slabs();
  const kv = { key: Buffer.from("key"), value: Buffer.alloc(2_000), modRevision: 3 };
  const events = [{ kv, prevKv: { ...kv, value: Buffer.alloc(10), modRevision: 2 } }];
  const [raw] = decodeWatch(WatchResponse.encode({ events })).events;
  const history = new History(100_000, 1);
  const plain: Uint8Array[] = [];
  for (let n = 0; n < 200; n++) {
    const encoded = encodeEvent(raw, (revision) => revision, allocate);
    history.push([{ key: "key", event: encoded }]);
    plain.push(encoded.plain);
    assert.ok(Math.abs(encoded.bytes - encoded.full.length - encoded.plain.length) < 10);
  }
  // Twice 2,000 bytes, and 400 of overhead.
  const kept = history.end - history.first;
  assert.ok(kept > 15 && kept < 25, `${kept}`);
  const held = [...new Set(plain.map(({ buffer }) => buffer))];
  assert.ok(held.every(({ byteLength }) => byteLength === 64 * 1024));
});
