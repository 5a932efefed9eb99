import assert from "node:assert/strict";
import { test } from "node:test";
import { textRange } from "../../src/watch/keys.js";
import { Watcher } from "../../src/watch/watcher.js";
import { startEtcds } from "../support/etcd.js";
import { until } from "../support/until.js";
import { FakeClient, FakeShard, FakeTimeline, openHub } from "./fakes.js";
import { newSeed, random } from "./random.js";
import { EtcdClient, EVERYTHING, openProxy, text, type WatchStream } from "./support.js";

/*
 * Previous keys cost an etcd more than the writes themselves. The proxy requests them only while a watcher wants them, and
 * such a watcher has them from its first event on.
 */

test("previous keys are requested while a watcher wants them; events without them are replayed", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const timeline = new FakeTimeline(2);
  const fakes = [0, 1].map((index) => new FakeShard(index));
  const hub = openHub(timeline, fakes);
  t.after(() => hub.close());
  const watch = (prevKv: boolean) => {
    const client = new FakeClient();
    const flags = { prevKv, fragment: false, noPut: false, noDelete: false };
    const range = textRange(Buffer.of(0), Buffer.of(0));
    const watcher = new Watcher(client, { id: 0, range, next: timeline.head + 1, ...flags });
    hub.attach(watcher);
    return { client, watcher };
  };
  /** The next watch on each shard. */
  let asked = 0;
  const upstreams = async (prevKv: boolean, ...starts: number[]) => {
    const n = asked++;
    const opened = await Promise.all(fakes.map((fake) => fake.nth(n)));
    assert.deepEqual(
      opened.map(({ request }) => [request!.prevKv, request!.startRevision]),
      starts.map((start) => [prevKv, start]),
    );
    for (const upstream of opened) upstream.created();
    return opened;
  };

  const plain = watch(false);
  const [first] = await upstreams(false, 2, 2);
  first.bring([2]);
  // When a watcher that wants previous keys starts, an event without one has arrived and is not sealed yet.
  const full = watch(true);
  const [second, third] = await upstreams(true, 2, 1);
  assert.ok(first.cancelled);
  const [replay, other] = await upstreams(true, 1, 1);
  timeline.add(0);
  await plain.client.has(1);
  replay.bring([2]);
  await full.client.has(1);
  await until("the replay has ended", () => replay.cancelled && other.cancelled);
  timeline.add(1, 0);
  third.bring([2]);
  second.bring([3]);
  for (const { client, watcher } of [plain, full]) {
    await client.has(3);
    assert.deepEqual(client.events, [2, 3, 4]);
    assert.equal(watcher.state, "synced");
  }
  assert.deepEqual(plain.client.previous, [false, false, false]);
  assert.deepEqual(full.client.previous, [true, true, true]);

  // The history has them from then on, for watchers that fall behind or start there.
  hub.detach(full.watcher);
  const later = watch(true);
  assert.equal(later.watcher.state, "synced");
  hub.detach(later.watcher);
  t.mock.timers.tick(3_000);
  const [fourth] = await upstreams(false, 3, 2);
  assert.ok(second.cancelled && third.cancelled);
  timeline.add(0);
  fourth.bring([4]);
  await plain.client.has(4);
  assert.deepEqual(plain.client.events, [2, 3, 4, 5]);
  const again = watch(true);
  await upstreams(true, 4, 2);
  assert.equal(again.watcher.state, "synced");
});

test("watchers that want previous keys are served while a shard is out during a move and events wait for it", async (t) => {
  const timeline = new FakeTimeline(3, true);
  // A step that froze at revision 1 has its move at revision 20.
  Object.assign(timeline.locator as object, {
    feedFrom: (revision: number) => (revision > 20 ? revision : 2),
  });
  const fakes = [0, 1, 2].map((index) => new FakeShard(index));
  const hub = openHub(timeline, fakes);
  t.after(() => hub.close());
  const watch = (shard: number, prevKv: boolean, next: number) => {
    const client = new FakeClient();
    const flags = { prevKv, fragment: false, noPut: false, noDelete: false };
    const range = textRange(Buffer.from("abc"[shard]), Buffer.of(0));
    const watcher = new Watcher(client, { id: 0, range, next, ...flags });
    hub.attach(watcher);
    return { client, watcher };
  };
  const b = fakes[1];
  const other = watch(2, false, 2);
  const firsts = await Promise.all(fakes.map((fake) => fake.nth(0)));
  for (const upstream of firsts) upstream.created();
  // Shard 0 is out and owes revision 2. Shard 2 brings as much as is kept, so the event of shard 1 at 20 waits: while the
  // keys of a step move, nothing is dropped.
  timeline.add(0, ...Array<number>(17).fill(2), 1);
  const many = Array.from({ length: 17 }, (_, n) => n + 2);
  firsts[2].bring(many, false, 1 << 20, "c");
  await other.client.has(16);
  firsts[1].bring([2]);
  // They start one after the other, each when the previous one has its watch.
  const watches: ReturnType<typeof watch>[] = [];
  for (let n = 0; n < 4; n++) {
    watches.push(watch(1, true, n === 0 ? 41 : 21));
    await new Promise(setImmediate);
    await new Promise(setImmediate);
  }
  const replays = () => b.streams.slice(1).filter(({ cancelled }) => !cancelled);
  for (const upstream of replays()) upstream.created();
  // More than a feed holds, while one of them waits for later events.
  for (let shardRevision = 3; shardRevision < 23; shardRevision++) {
    timeline.add(1);
    for (const upstream of replays()) upstream.bring([shardRevision], false, 1 << 20);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
  }
  for (const { client } of watches.slice(1)) {
    await client.has(20);
    assert.deepEqual(
      client.events,
      Array.from({ length: 20 }, (_, n) => 21 + n),
    );
    assert.ok(client.previous.every((has) => has));
  }
  timeline.add(1);
  for (const upstream of replays()) {
    assert.ok(upstream === replays()[0] || !upstream.paused, "only the waiting replay is paused");
    upstream.bring([23]);
  }
  await watches[0].client.has(1);
  assert.deepEqual(watches[0].client.events, [41]);
});

test("watches with and without previous keys come and go while clients write, and each gets all its events", async (t) => {
  const next = random(newSeed("previous keys"));
  const shards = await startEtcds(3);
  const proxy = await openProxy(shards);
  const client = new EtcdClient(proxy.addresses[0]);
  t.after(async () => {
    client.close();
    await proxy.stop();
    await Promise.all(shards.map((shard) => shard.remove()));
  });
  const opened = async () => {
    const metrics = await (
      await fetch(`http://${proxy.addresses[0].replace(/^\w+:\/\//, "")}/metrics`)
    ).text();
    const counts = metrics.matchAll(/^braid_watch_upstream_opened_total\{.*\} (\d+)$/gm);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  };

  /** Revision → key and value. */
  const written = new Map<number, [string, string]>();
  let writing = true;
  let serial = 0;
  const first = await client.set("a/first", "");
  written.set(first, ["a/first", ""]);
  const writers = Array.from({ length: 6 }, async () => {
    while (writing) {
      const key = `${"abc"[next(3)]}/${next(4)}`;
      const value = `${serial++}`;
      written.set(await client.set(key, value), [key, value]);
    }
  });
  const watches: { stream: WatchStream; prevKv: boolean; from: number; watchId: number }[] = [];
  const join = async (prevKv: boolean): Promise<WatchStream> => {
    const stream = client.watch();
    const startRevision = next(2) === 0 ? 0 : first + next(Math.max(...written.keys()) - first);
    const { header, watchId } = await stream.create({ ...EVERYTHING, prevKv, startRevision });
    watches.push({ stream, prevKv, from: startRevision || header!.revision + 1, watchId });
    return stream;
  };
  const progress = async () => {
    const target = Math.max(...written.keys()) + 20;
    await until("there are more revisions", () => written.has(target));
    return target;
  };
  for (let phase = 0; phase < 3; phase++) {
    const staying = await join(false);
    await progress();
    for (let n = 0; n < 4; n++) {
      await join(true);
      if (next(2) === 0) await progress();
    }
    await join(false);
    // All watchers that want previous keys leave, and the proxy no longer requests them.
    const target = await progress();
    for (const watch of watches.filter(({ prevKv, stream }) => prevKv && stream !== staying)) {
      if (watch.stream.error === undefined) await watch.stream.reaches(watch.watchId, target);
      watch.stream.close();
    }
    const before = await opened();
    await until("the watches on the shards are replaced", async () => (await opened()) >= before + 3);
  }
  writing = false;
  await Promise.all(writers);

  const revisions = [...written.keys()].sort((a, b) => a - b);
  const last = revisions[revisions.length - 1];
  const previous = new Map<number, string | undefined>();
  const latest = new Map<string, string>();
  for (const revision of revisions) {
    const [key, value] = written.get(revision)!;
    previous.set(revision, latest.get(key));
    latest.set(key, value);
  }
  for (const { stream, prevKv, from, watchId } of watches) {
    if (!prevKv) await stream.reaches(watchId, last);
    stream.check();
    const events = stream.eventsOf(watchId);
    const end = events[events.length - 1].kv!.modRevision;
    const expected = revisions.filter((revision) => revision >= from && revision <= end);
    assert.deepEqual(
      events.map(({ kv, prevKv: before }) => [
        kv!.modRevision,
        text(kv!.value),
        before && text(before.value),
      ]),
      expected.map((revision) => [
        revision,
        written.get(revision)![1],
        prevKv ? previous.get(revision) : undefined,
      ]),
    );
    if (!prevKv) stream.close();
  }
});

test("a feed that owes events keeps previous keys, but not after the last watcher that wants them has left", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const timeline = new FakeTimeline(1);
  const fake = new FakeShard();
  const hub = openHub(timeline, [fake]);
  t.after(() => hub.close());
  const watch = (prevKv: boolean) => {
    const flags = { prevKv, fragment: false, noPut: false, noDelete: false };
    const range = textRange(Buffer.of(0), Buffer.of(0));
    const watcher = new Watcher(new FakeClient(), {
      id: 0,
      range,
      next: timeline.head + 1,
      ...flags,
    });
    hub.attach(watcher);
    return watcher;
  };
  const full = watch(true);
  const first = await fake.nth(0);
  first.created();
  hub.detach(full);
  watch(false);
  timeline.add(0);
  t.mock.timers.tick(4_000);
  assert.equal(first.cancelled, false);
  first.bring([2]);
  t.mock.timers.tick(1_000);
  assert.equal(first.cancelled, true);
  assert.equal((await fake.nth(1)).request!.prevKv, false);
});
