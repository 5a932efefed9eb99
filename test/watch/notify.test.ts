import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { createRouter } from "../../src/routing/create.js";
import { createIdentity } from "../../src/services/identity.js";
import { WatchSession } from "../../src/services/watch/session.js";
import type { Timeline } from "../../src/timeline/view.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { Hub } from "../../src/watch/hub.js";
import { WatchRequest } from "../../src/wire/messages.js";
import { Watch } from "../../src/wire/paths.js";
import { FakeShard, FakeTimeline } from "./fakes.js";
import { TestStream } from "./service.js";

/** Between two notifications lies this much at most, ms: the interval, and what it is spread by. */
const INTERVAL = 10_000;
const SPREAD = 1_000;

/** One client's stream over one shard, at revision 3. Time passes when the test says so. */
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
  const log = { info: () => {}, warn: () => {} };
  const hub = new Hub({
    timeline,
    shards: [shard.shard],
    log,
    runtime: systemRuntime,
    historyBytes: 1 << 20,
  });
  t.after(() => hub.close());
  const stream = new TestStream(Watch.Watch, 1 << 20);
  const router = await createRouter({ shards: [{ name: "s", weight: 1 }], rules: [] });
  const identity = createIdentity({ clusterId: 1n, memberId: 1n, timeline });
  const limits = { streamBufferBytes: 1 << 20, progressNotifyMs: INTERVAL };
  new WatchSession(
    { timeline, shards: [shard.shard], router, identity, hub, limits, runtime: systemRuntime },
    stream,
  );
  t.after(() => stream.cancel());
  return { fake, shard, stream };
}

test("a quiet watch is told of progress from the first interval on, others after a quiet one", async (t) => {
  const { fake, shard, stream } = await openSession(t);
  const key = Buffer.from("k");
  stream.create({ key, rangeEnd: Buffer.from("l"), progressNotify: true });
  stream.create({ key: Buffer.from("quiet"), progressNotify: true });
  await stream.until(() => stream.frames.length === 2);
  const told = () => stream.frames.splice(0).map(({ watchId, header }) => [watchId, header?.revision]);
  told();
  const pass = () => t.mock.timers.tick(INTERVAL + SPREAD);
  pass();
  assert.deepEqual(told(), [
    [0, 3],
    [1, 3],
  ]);
  const upstream = await shard.nth(0);
  upstream.created();
  fake.add(0);
  upstream.bring([4]);
  await stream.until(() => stream.frames.length === 1);
  assert.deepEqual(told(), [[0, 4]]);
  pass();
  assert.deepEqual(told(), [[1, 4]]);
  pass();
  assert.deepEqual(told(), [
    [0, 4],
    [1, 4],
  ]);
});

test("a watch that a replay serves is told of progress once the replay has been at the head, also if it never ends", async (t) => {
  const { shard, stream } = await openSession(t);
  const everything = { rangeEnd: Buffer.of(0), startRevision: 2 };
  stream.create({ key: Buffer.from("a"), ...everything, progressNotify: true });
  const upstream = await shard.nth(0);
  const replay = await shard.nth(1);
  for (const one of [upstream, replay]) one.created();
  await stream.until(() => stream.frames.length === 1);
  stream.frames.splice(0);
  const told = () => stream.frames.splice(0).map(({ watchId, header }) => [watchId, header?.revision]);
  const pass = () => t.mock.timers.tick(INTERVAL + SPREAD);
  // It is behind.
  pass();
  assert.deepEqual(told(), []);
  // What comes next has no previous keys, and waits for good: so does this one's replay.
  upstream.bring([4]);
  stream.create({ key: Buffer.from("a"), ...everything, prevKv: true, progressNotify: true });
  const lasting = await shard.nth(3);
  lasting.created();
  lasting.bring([2, 3]);
  await stream.until(() => stream.frames.some(({ events }) => events.length > 0));
  told();
  pass();
  told();
  pass();
  assert.deepEqual(told(), [[1, 3]]);
});

test("a progress answer for all watches is not below what one of them has been given", async (t) => {
  const { fake, shard, stream } = await openSession(t);
  stream.create({ key: Buffer.from("k"), rangeEnd: Buffer.from("l") });
  const upstream = await shard.nth(0);
  upstream.created();
  // It has no previous keys, so a replay serves the next watch for good.
  upstream.bring([4]);
  stream.create({ key: Buffer.from("a"), rangeEnd: Buffer.of(0), startRevision: 2, prevKv: true });
  const replay = await shard.nth(2);
  replay.created();
  stream.receive(WatchRequest.encode({ kind: "progress" }));
  // All promises are settled: the request has to be answered at 3.
  await setImmediate();
  fake.add(0);
  const given = () => stream.frames.slice(2).map(({ watchId, header }) => [watchId, header?.revision]);
  await stream.until(() => given().length === 1);
  // Now the second watch is where the request has to be answered, and the first one is further.
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
