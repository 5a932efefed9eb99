import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { FRAME_BYTES } from "../../src/watch/frames.js";
import { Watch } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { openWatchService, TestStream } from "./service.js";
import { bytes, EtcdClient, EVERYTHING, keysOf, openProxy, prefixEnd } from "./support.js";

/** A history far smaller than the events, and streams that fill up soon. */
const LIMITS = { historyBytes: 2 << 20, streamBufferBytes: 1 << 20, progressNotifyMs: 600_000 };

let shards: EtcdProcess[];
let proxy: Braid;
let client: EtcdClient;

before(async () => {
  shards = await startEtcds(3);
  proxy = await openProxy(shards, { watch: LIMITS });
  client = new EtcdClient(proxy.addresses[0]);
});

after(async () => {
  client.close();
  await proxy.stop();
  await Promise.all(shards.map((shard) => shard.remove()));
});

test("a client that does not read delays no other client and misses nothing", async () => {
  const slow = new EtcdClient(proxy.addresses[0]);
  const stuck = slow.watch();
  const ofSlow = await stuck.create(EVERYTHING);
  const second = await stuck.create({ key: bytes("b/"), rangeEnd: prefixEnd("b/"), prevKv: true });
  const reading = client.watch();
  const { watchId } = await reading.create(EVERYTHING);
  stuck.pause();
  const value = "v".repeat(130_000);
  let last = 0;
  // About 16 MB: eight times the history.
  for (let n = 0; n < 120; n++) {
    last = await client.set(`${"abc"[n % 3]}/big/${n % 5}`, value);
    await reading.reaches(watchId, last);
  }
  const expected = keysOf(reading.eventsOf(watchId));
  assert.equal(expected.length, 120);
  const ofB = expected.filter((event) => event.includes(" b/"));
  stuck.resume();
  await stuck.reaches(ofSlow.watchId, last);
  await stuck.reaches(second.watchId, Number.parseInt(ofB.at(-1)!, 10));
  assert.deepEqual(keysOf(stuck.eventsOf(ofSlow.watchId)), expected);
  assert.deepEqual(keysOf(stuck.eventsOf(second.watchId)), ofB);
  assert.ok(stuck.eventsOf(second.watchId).every(({ prevKv }, i) => i < 5 || prevKv !== undefined));
  const next = await client.set("b/big/0", "small again");
  await stuck.reaches(ofSlow.watchId, next);
  await stuck.reaches(second.watchId, next);
  stuck.check();
  reading.check();
  slow.close();
  reading.close();
});

test("what is queued for a client that does not read is bounded", async () => {
  const { service, close } = await openWatchService(shards, LIMITS);
  const stream = new TestStream(Watch.Watch, 64 << 10);
  service.stream.get(Watch.Watch)!(stream);
  for (const fragment of [false, true, false]) stream.create({ ...EVERYTHING, fragment });
  await stream.until(() => stream.frames.length === 3);
  const value = "v".repeat(130_000);
  let last = 0;
  for (let n = 0; n < 100; n++) last = await client.set(`${"abc"[n % 3]}/bounded/${n % 5}`, value);
  // A watch of another stream shows when the hub has delivered everything.
  const witness = new TestStream(Watch.Watch, Number.POSITIVE_INFINITY);
  service.stream.get(Watch.Watch)!(witness);
  witness.create({ ...EVERYTHING, startRevision: last });
  await witness.until(() => witness.frames.some(({ events }) => events.length > 0));
  const bound = LIMITS.streamBufferBytes + FRAME_BYTES + 1_000;
  assert.ok(stream.queuedBytes > LIMITS.streamBufferBytes, `${stream.queuedBytes}`);
  assert.ok(stream.queuedBytes < bound, `${stream.queuedBytes}`);
  // The client reads a frame now and then.
  while (!stream.frames.some(({ watchId, header }) => watchId === 1 && header!.revision >= last)) {
    await stream.until(() => stream.queuedBytes > 0);
    stream.drain();
    assert.ok(stream.queuedBytes < bound, `${stream.queuedBytes}`);
  }
  for (const id of [0, 1, 2]) {
    const all = () => stream.frames.filter(({ watchId }) => watchId === id).flatMap(({ events }) => events);
    while (all().length < 100) {
      await stream.until(() => stream.queuedBytes > 0);
      stream.drain();
    }
    assert.equal(new Set(keysOf(all())).size, 100);
  }
  assert.ok(stream.highest < bound, `${stream.highest}`);
  stream.cancel();
  witness.cancel();
  close();
});

test("many watches of one slow stream catch up, each completely", async () => {
  const slow = new EtcdClient(proxy.addresses[0]);
  const stuck = slow.watch();
  const ids: number[] = [];
  for (let n = 0; n < 20; n++) {
    const key = bytes(`${"abc"[n % 3]}/`);
    ids.push((await stuck.create({ key, rangeEnd: prefixEnd(key.toString()) })).watchId);
  }
  stuck.pause();
  const value = "v".repeat(50_000);
  const last = [0, 0, 0];
  for (let n = 0; n < 90; n++) last[n % 3] = await client.set(`${"abc"[n % 3]}/many/${n}`, value);
  stuck.resume();
  for (const [n, id] of ids.entries()) {
    await stuck.reaches(id, last[n % 3]);
    assert.equal(stuck.eventsOf(id).length, 30);
  }
  assert.ok((await stuck.progress()) >= Math.max(...last));
  stuck.check();
  slow.close();
});

test("large revisions are sent whole, or in marked fragments if the watch requests them", async () => {
  const value = bytes("x".repeat(100_000));
  const put = (n: number) => ({ kind: "put" as const, request: { key: bytes(`a/large/${n}`), value } });
  const puts = Array.from({ length: 14 }, (_, n) => put(n));
  const { header: first } = await client.txn({ success: puts });
  const stream = client.watch();
  const range = { key: bytes("a/large/"), rangeEnd: prefixEnd("a/large/"), prevKv: true };
  const whole = await stream.create(range);
  const parts = await stream.create({ ...range, fragment: true });
  const { header } = await client.txn({ success: puts });
  const revision = header!.revision;
  const old = await stream.create({ ...range, fragment: true, startRevision: first!.revision });
  await stream.reaches(whole.watchId, revision);
  for (const { watchId } of [parts, old]) {
    const frames = () =>
      stream.frames.filter((frame) => frame.watchId === watchId && frame.events.length > 0);
    const complete = () =>
      frames().some((frame) => !frame.fragment && frame.events[0].kv!.modRevision === revision);
    await stream.until("the last fragment", complete);
    const fragments = frames().filter(({ events }) => events[0].kv!.modRevision === revision);
    assert.ok(fragments.length > 2, `${fragments.length} frames`);
    assert.deepEqual(
      fragments.map(({ fragment }) => fragment),
      fragments.map((_, i) => i < fragments.length - 1),
    );
    for (const { events } of fragments) {
      const size = events.reduce((sum, { kv, prevKv }) => sum + kv!.value.length + prevKv!.value.length, 0);
      assert.ok(size <= FRAME_BYTES);
    }
    assert.equal(fragments.flatMap(({ events }) => events).length, 14);
  }
  const frames = stream.frames.filter(
    ({ watchId, events }) => watchId === whole.watchId && events.length > 0,
  );
  assert.deepEqual(
    frames.map(({ events, fragment }) => [events.length, fragment]),
    [[14, false]],
  );
  stream.check();
  stream.close();
});
