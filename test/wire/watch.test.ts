import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import { type Event, type KeyValue, WatchResponse } from "../../src/wire/messages.js";
import { encodeHeader } from "../../src/wire/rewrite.js";
import { decodeWatch, encodeEvent, encodeWatchHead } from "../../src/wire/watch.js";
import { damage, Random, randomMessage, seed } from "./random.js";
import { hex, lookup, plain } from "./reference.js";

console.log(`# SEED=${seed}`);

const type = lookup("WatchResponse");
const header = { clusterId: 2n ** 64n - 3n, memberId: 77n, revision: 2 ** 40 + 5, raftTerm: 9 };
const field = encodeHeader(header);
const map = (revision: number): number => (revision === 0 ? 0 : revision > 2 ** 30 ? 3 : revision * 1000 + 7);

test("a shard's response is decoded as far as the choice of watchers needs", () => {
  const random = new Random(seed);
  for (let i = 0; i < 1500; i++) {
    const bytes = randomMessage(random, type, i % 2 === 0 ? "canonical" : "loose");
    const full = WatchResponse.decode(bytes);
    const actual = decodeWatch(bytes);
    assert.deepEqual(
      { ...actual, events: actual.events.map(({ type, key, modRevision }) => ({ type, key, modRevision })) },
      {
        watchId: full.watchId,
        created: full.created,
        canceled: full.canceled,
        fragment: full.fragment,
        compactRevision: full.compactRevision,
        cancelReason: full.cancelReason,
        events: full.events.map(({ type, kv }) => ({
          type,
          key: kv?.key ?? new Uint8Array(0),
          modRevision: kv?.modRevision ?? 0,
        })),
      },
    );
    for (const { raw } of actual.events) assert.equal(raw.buffer, bytes.buffer);
  }
});

test("a head and encoded events are the response that a client expects", () => {
  const random = new Random(seed + 1);
  for (let i = 0; i < 1500; i++) {
    const bytes = randomMessage(random, type, i % 2 === 0 ? "canonical" : "loose");
    const source = WatchResponse.decode(bytes);
    const events = decodeWatch(bytes).events.map((event) => encodeEvent(event, map));
    const flags = {
      created: random.chance(2),
      canceled: random.chance(2),
      compactRevision: random.pick([0, 5, 2 ** 41]),
      cancelReason: random.pick(["", "etcdserver: mvcc: required revision has been compacted"]),
      fragment: random.chance(2),
    };
    const watchId = random.pick([-1, 0, 1, 300, 2 ** 45]);
    const head = encodeWatchHead(field, watchId, flags);
    const expected = { header, watchId, ...flags };
    const full = WatchResponse.decode(Buffer.concat([head, ...events.map((event) => event.full)]));
    assert.deepEqual(plain(full), plain(reencoded({ ...expected, events: source.events.map(mapEvent) })));
    const plainEvents = source.events.map((event) => withoutPrevKv(mapEvent(event)));
    const without = WatchResponse.decode(Buffer.concat([head, ...events.map((event) => event.plain)]));
    assert.deepEqual(plain(without), plain(reencoded({ ...expected, events: plainEvents })));
    for (const [at, event] of events.entries()) assert.equal(event.type, source.events[at].type);
  }
});

test("canonical events are encoded to canonical bytes", () => {
  const random = new Random(seed + 2);
  for (let i = 0; i < 500; i++) {
    const bytes = randomMessage(random, type, "canonical");
    const source = WatchResponse.decode(bytes);
    const parts = decodeWatch(bytes).events.map((event) => encodeEvent(event, map).full);
    const whole = Buffer.concat([encodeWatchHead(field, 7), ...parts]);
    assert.equal(
      hex(whole),
      hex(WatchResponse.encode({ header, watchId: 7, events: source.events.map(mapEvent) })),
    );
  }
});

test("events are encoded without the previous key once, and not at all when there is none", () => {
  const kv = { key: Buffer.from("key"), modRevision: 9, createRevision: 3, value: Buffer.alloc(100, 1) };
  const bytes = WatchResponse.encode({ events: [{ kv, prevKv: { ...kv, modRevision: 3 } }, { kv }] });
  const [both, single] = decodeWatch(bytes).events.map((event) => encodeEvent(event, map));
  assert.notEqual(both.plain, both.full);
  assert.equal(both.plain, both.plain);
  assert.equal(single.plain, single.full);
});

test("an encoded event does not keep the response in memory", () => {
  const bytes = WatchResponse.encode({ events: [{ kv: { key: Buffer.from("key"), modRevision: 9 } }] });
  const event = encodeEvent(decodeWatch(bytes).events[0], map);
  assert.notEqual(event.full.buffer, bytes.buffer);
  const before = hex(event.full);
  bytes.fill(0);
  assert.equal(hex(event.full), before);
});

test("malformed responses are INVALID_ARGUMENT exactly when decoding refuses them", () => {
  const random = new Random(seed + 3);
  for (let i = 0; i < 4000; i++) {
    const bytes = damage(random, randomMessage(random, type, random.pick(["canonical", "loose"])));
    const decoded = refused(() => WatchResponse.decode(bytes));
    const handed = refused(() => {
      for (const event of decodeWatch(bytes).events) {
        const encoded = encodeEvent(event, map);
        assert.ok(encoded.plain.length <= encoded.full.length);
      }
    });
    assert.equal(handed, decoded, hex(bytes));
  }
});

function mapKv(kv: KeyValue): KeyValue {
  return { ...kv, createRevision: map(kv.createRevision), modRevision: map(kv.modRevision) };
}

function mapEvent(event: Event): Event {
  const mapped = { ...event };
  if (event.kv !== undefined) mapped.kv = mapKv(event.kv);
  if (event.prevKv !== undefined) mapped.prevKv = mapKv(event.prevKv);
  return mapped;
}

function withoutPrevKv(event: Event): Event {
  const { prevKv: _, ...rest } = event;
  return rest;
}

function reencoded(message: WatchResponse): WatchResponse {
  return WatchResponse.decode(WatchResponse.encode(message));
}

function refused(run: () => unknown): boolean {
  try {
    run();
    return false;
  } catch (error) {
    if (error instanceof StatusError && error.code === Code.INVALID_ARGUMENT) return true;
    throw error;
  }
}
