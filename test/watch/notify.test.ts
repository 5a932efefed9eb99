import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { createIdentity } from "../../src/services/identity.js";
import { WatchSession } from "../../src/services/watch/session.js";
import type { Timeline } from "../../src/timeline/view.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { Hub } from "../../src/watch/hub.js";
import { WatchRequest } from "../../src/wire/messages.js";
import { Watch } from "../../src/wire/paths.js";
import { shardSet } from "../support/shardSet.js";
import { FakeShard, FakeTimeline } from "./fakes.js";
import { TestStream } from "./service.js";

/** Notifications are at most this long apart: the interval, and a random spread. */
const INTERVAL_MS = 10_000;
const SPREAD_MS = 1_000;

/** Opens one client's stream over one shard, at revision 3. The test controls the time. */
async function openSession(t: TestContext) {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const fake = new FakeTimeline(1);
  fake.add(0, 0);
  const timeline = Object.assign(fake, {
    raftTerm: 1,
    sync: async () => {},
    seal: () => new Promise(() => {}),
  }) as unknown as Timeline;
  const shard = new FakeShard();
  const shards = shardSet([shard.shard]);
  const log = { info: () => {}, warn: () => {} };
  const hub = new Hub({
    timeline,
    shards,
    log,
    runtime: systemRuntime,
    historyBytes: 1 << 20,
  });
  t.after(() => hub.close());
  const stream = new TestStream(Watch.Watch, 1 << 20);
  const identity = createIdentity({ clusterId: 1n, memberId: 1n, timeline });
  const limits = { streamBufferBytes: 1 << 20, progressNotifyMs: INTERVAL_MS };
  new WatchSession(
    { timeline, shards, identity, hub, limits, runtime: systemRuntime, sessions: new Set() },
    stream,
  );
  t.after(() => stream.cancel());
  return { fake, shard, stream };
}

test("a quiet watch is notified of progress from the first interval on, others after a quiet interval", async (t) => {
  const { fake, shard, stream } = await openSession(t);
  const key = Buffer.from("k");
  stream.create({ key, rangeEnd: Buffer.from("l"), progressNotify: true });
  stream.create({ key: Buffer.from("quiet"), progressNotify: true });
  await stream.until(() => stream.frames.length === 2);
  const received = () => stream.frames.splice(0).map(({ watchId, header }) => [watchId, header?.revision]);
  received();
  const pass = () => t.mock.timers.tick(INTERVAL_MS + SPREAD_MS);
  pass();
  assert.deepEqual(received(), [
    [0, 3],
    [1, 3],
  ]);
  const upstream = await shard.nth(0);
  upstream.created();
  fake.add(0);
  upstream.bring([4]);
  await stream.until(() => stream.frames.length === 1);
  assert.deepEqual(received(), [[0, 4]]);
  pass();
  assert.deepEqual(received(), [[1, 4]]);
  pass();
  assert.deepEqual(received(), [
    [0, 4],
    [1, 4],
  ]);
});

test("a watch in a replay is notified of progress once the replay has reached the head, even if it never ends", async (t) => {
  const { shard, stream } = await openSession(t);
  const everything = { rangeEnd: Buffer.of(0), startRevision: 2 };
  stream.create({ key: Buffer.from("a"), ...everything, progressNotify: true });
  const upstream = await shard.nth(0);
  const replay = await shard.nth(1);
  for (const one of [upstream, replay]) one.created();
  await stream.until(() => stream.frames.length === 1);
  stream.frames.splice(0);
  const received = () => stream.frames.splice(0).map(({ watchId, header }) => [watchId, header?.revision]);
  const pass = () => t.mock.timers.tick(INTERVAL_MS + SPREAD_MS);
  // It is behind.
  pass();
  assert.deepEqual(received(), []);
  // The next event has no previous key and waits forever, so this watch's replay never ends.
  upstream.bring([4]);
  stream.create({ key: Buffer.from("a"), ...everything, prevKv: true, progressNotify: true });
  const lasting = await shard.nth(3);
  lasting.created();
  lasting.bring([2, 3]);
  await stream.until(() => stream.frames.some(({ events }) => events.length > 0));
  received();
  pass();
  received();
  pass();
  assert.deepEqual(received(), [[1, 3]]);
});

test("a progress response for all watches is not below a revision that one of them has got", async (t) => {
  const { fake, shard, stream } = await openSession(t);
  stream.create({ key: Buffer.from("k"), rangeEnd: Buffer.from("l") });
  const upstream = await shard.nth(0);
  upstream.created();
  // It has no previous key, so a replay serves the next watch forever.
  upstream.bring([4]);
  stream.create({ key: Buffer.from("a"), rangeEnd: Buffer.of(0), startRevision: 2, prevKv: true });
  const replay = await shard.nth(2);
  replay.created();
  stream.receive(WatchRequest.encode({ kind: "progress" }));
  // All promises are settled. The response must be at 3.
  await setImmediate();
  fake.add(0);
  const given = () => stream.frames.slice(2).map(({ watchId, header }) => [watchId, header?.revision]);
  await stream.until(() => given().length === 1);
  // Now the second watch has reached the requested revision, and the first one is ahead of it.
  replay.bring([2, 3]);
  await stream.until(() => given().length === 2);
  replay.bring([4]);
  await stream.until(() => given().some(([watchId]) => watchId === -1));
  assert.deepEqual(given(), [
    [0, 4],
    [1, 3],
    [1, 4],
    [-1, 4],
  ]);
});
