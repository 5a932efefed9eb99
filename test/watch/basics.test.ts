import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { until } from "../support/until.js";
import { bytes, EtcdClient, EVERYTHING, NO_END, openProxy, prefixEnd, show, text } from "./support.js";

let shards: EtcdProcess[];
let proxy: Braid;
let client: EtcdClient;

before(async () => {
  shards = await startEtcds(3);
  proxy = await openProxy(shards, { watch: { progressNotifyMs: 100 } });
  client = new EtcdClient(proxy.addresses[0]);
});

after(async () => {
  client.close();
  await proxy.stop();
  await Promise.all(shards.map((shard) => shard.remove()));
});

test("events of all shards come in one order, from the watch's creation on", async () => {
  await client.set("a/before", "0");
  const stream = client.watch();
  const created = await stream.create(EVERYTHING);
  const expected: string[] = [];
  for (let n = 0; n < 30; n++) {
    const key = `${"abc"[n % 3]}/order/${n % 7}`;
    if (n % 5 === 4) expected.push(`${await client.delete(`${"abc"[(n - 3) % 3]}/order/${(n - 3) % 7}`)} -`);
    expected.push(`${await client.set(key, `${n}`)} +${key}=${n}`);
  }
  const last = Number(expected.at(-1)!.split(" ")[0]);
  await stream.reaches(created.watchId, last);
  const shown = stream.shown(created.watchId);
  assert.deepEqual(
    shown.filter((event) => event.includes("+")),
    expected.filter((event) => event.includes("+")),
  );
  assert.deepEqual(
    stream.eventsOf(created.watchId).map(({ kv }) => kv!.modRevision),
    Array.from({ length: last - created.header!.revision }, (_, i) => created.header!.revision + 1 + i),
  );
  stream.check();
  stream.close();
});

test("a client that keeps up gets a separate response for each revision, as from one etcd", async () => {
  const stream = client.watch();
  const { watchId } = await stream.create({ key: bytes("a/"), rangeEnd: bytes("d") });
  const puts = await Promise.all([..."abcabc"].map((shard, n) => client.set(`${shard}/single/${n}`, "")));
  await stream.reaches(watchId, Math.max(...puts));
  const responses = stream.frames.filter(({ created }) => !created);
  assert.deepEqual(
    responses.map(({ header, events }) => [header!.revision, ...events.map(({ kv }) => kv!.modRevision)]),
    puts.sort((a, b) => a - b).map((revision) => [revision, revision]),
  );
  stream.check();
  stream.close();
});

test("a watch from an old revision brings the same events as a watch that was open since then", async () => {
  const live = client.watch();
  const { watchId, header } = await live.create({ ...EVERYTHING, prevKv: true });
  let last = 0;
  for (let n = 0; n < 40; n++) last = await client.set(`${"abc"[n % 3]}/old/${n % 4}`, `${n}`);
  await live.reaches(watchId, last);
  const events = live.eventsOf(watchId);
  // The second proxy has no history yet: it replays from the shards.
  const other = await openProxy(shards);
  const otherClient = new EtcdClient(other.addresses[0]);
  for (const from of [client, otherClient]) {
    const stream = from.watch();
    for (const startRevision of [header!.revision + 1, last - 7, last]) {
      const old = await stream.create({ ...EVERYTHING, prevKv: true, startRevision });
      assert.equal(old.header!.revision, startRevision - 1);
      await stream.reaches(old.watchId, last);
      assert.deepEqual(
        stream.eventsOf(old.watchId),
        events.filter(({ kv }) => kv!.modRevision >= startRevision),
      );
    }
    const one = await stream.create({ key: bytes("b/old/1"), startRevision: header!.revision + 1 });
    const wanted = events.filter(({ kv }) => text(kv!.key) === "b/old/1").map(show);
    await stream.until("the key's events", () => stream.eventsOf(one.watchId).length >= wanted.length);
    assert.deepEqual(stream.shown(one.watchId), wanted);
    stream.check();
    stream.close();
  }
  live.close();
  otherClient.close();
  await other.stop();
});

test("the whole history, from revision 1", async () => {
  const stream = client.watch();
  const { watchId } = await stream.create({ ...EVERYTHING, startRevision: 1 });
  const last = await client.set("c/newest", "");
  await stream.reaches(watchId, last);
  assert.deepEqual(
    stream.eventsOf(watchId).map(({ kv }) => kv!.modRevision),
    Array.from({ length: last - 1 }, (_, i) => i + 2),
  );
  stream.check();
  stream.close();
});

test("a watch that starts in the future leaves out earlier events", async () => {
  const stream = client.watch();
  const head = await client.set("a/future", "0");
  const { watchId, header } = await stream.create({ ...EVERYTHING, startRevision: head + 3 });
  assert.equal(header!.revision, head);
  for (const n of [1, 2, 3, 4]) await client.set(`${"abc"[n % 3]}/future`, `${n}`);
  await stream.reaches(watchId, head + 4);
  assert.deepEqual(stream.shown(watchId), [`${head + 3} +a/future=3`, `${head + 4} +b/future=4`]);
  stream.check();
  stream.close();
});

test("previous keys, and filters", async () => {
  const first = await client.set("b/prev", "one");
  const stream = client.watch();
  const range = { key: bytes("b/p"), rangeEnd: prefixEnd("b/p") };
  const full = await stream.create({ ...range, prevKv: true });
  const plain = await stream.create(range);
  const puts = await stream.create({ ...range, filters: [1] });
  const deletes = await stream.create({ ...range, filters: [0], prevKv: true });
  const nothing = await stream.create({ ...range, filters: [0, 1] });
  const second = await client.set("b/prev", "two");
  const third = await client.delete("b/prev");
  for (const { watchId } of [full, plain, deletes]) await stream.reaches(watchId, third);
  await stream.reaches(puts.watchId, second);
  const previous = (id: number) =>
    stream.eventsOf(id).map(({ prevKv }) => prevKv && [text(prevKv.value), prevKv.modRevision]);
  assert.deepEqual(previous(full.watchId), [
    ["one", first],
    ["two", second],
  ]);
  assert.deepEqual(previous(plain.watchId), [undefined, undefined]);
  assert.deepEqual(stream.shown(puts.watchId), [`${second} +b/prev=two`]);
  assert.deepEqual(stream.shown(deletes.watchId), [`${third} -b/prev`]);
  assert.deepEqual(previous(deletes.watchId), [["two", second]]);
  assert.equal(await stream.progress(), third);
  assert.deepEqual(stream.shown(nothing.watchId), []);
  stream.check();
  stream.close();
});

test("all events of a transaction are in one frame", async () => {
  const stream = client.watch();
  const { watchId } = await stream.create(EVERYTHING);
  const put = (key: string) => ({ kind: "put" as const, request: { key: bytes(key), value: bytes("x") } });
  const keys = Array.from({ length: 20 }, (_, n) => `c/txn/${n}`);
  const { header } = await client.txn({ success: keys.map(put) });
  await stream.reaches(watchId, header!.revision);
  const frame = stream.frames.at(-1)!;
  assert.deepEqual(
    frame.events.map(({ kv }) => text(kv!.key)),
    keys,
  );
  assert.equal(frame.header!.revision, header!.revision);
  stream.close();
});

test("ids: chosen by the client, free ones, taken ones; cancelling", async () => {
  const stream = client.watch();
  const create = async (watchId: number) => (await stream.create({ key: bytes("a"), watchId })).watchId;
  assert.equal(await create(1), 1);
  assert.equal(await create(0), 0);
  assert.equal(await create(0), 2);
  assert.equal(await create(77), 77);
  const taken = await stream.create({ key: bytes("a"), watchId: 77 });
  assert.deepEqual([taken.watchId, taken.created, taken.canceled], [-1, true, true]);
  assert.equal(taken.cancelReason, "mvcc: duplicate watch ID provided on the WatchStream");
  const empty = await stream.create({ key: bytes("b"), rangeEnd: bytes("a") });
  assert.deepEqual([empty.watchId, empty.created, empty.canceled], [-1, true, true]);
  assert.equal(empty.cancelReason, "mvcc: watcher range is empty");
  const frames = stream.frames.length;
  stream.send({ kind: "cancel", watchId: 12345 });
  stream.send({ kind: "cancel", watchId: 77 });
  await stream.until("cancelled", () => stream.frames.length > frames);
  const cancelled = stream.frames[frames];
  assert.deepEqual([cancelled.watchId, cancelled.created, cancelled.canceled], [77, false, true]);
  assert.equal(cancelled.cancelReason, "");
  const last = await client.set("a", "after");
  for (const id of [0, 1, 2]) await stream.reaches(id, last);
  assert.deepEqual(stream.shown(77), []);
  assert.equal(await create(77), 77);
  stream.close();
});

test("progress covers every write acknowledged before, on every watch of the stream", async () => {
  const stream = client.watch();
  assert.equal(
    await stream.progress(),
    await client.range({ key: bytes("a") }).then((r) => r.header!.revision),
  );
  const ids: number[] = [];
  for (let i = 0; i < 10; i++) ids.push((await stream.create({ ...EVERYTHING, startRevision: i })).watchId);
  for (let n = 0; n < 20; n++) {
    const last = await client.set(`${"abc"[n % 3]}/progress`, `${n}`);
    const revision = await stream.progress();
    assert.ok(revision >= last, `${revision} < ${last}`);
    const progress = stream.frames.findLastIndex(({ watchId }) => watchId === -1);
    for (const id of ids) {
      const seen = stream.frames.slice(0, progress).flatMap((f) => (f.watchId === id ? f.events : []));
      assert.ok(seen.at(-1)!.kv!.modRevision >= last, `watch ${id} did not get ${last}`);
    }
  }
  stream.check();
  stream.close();
});

test("only watches that requested progress notifications get them", async () => {
  const stream = client.watch();
  await stream.create({ key: bytes("a/silent") });
  const { watchId } = await stream.create({ key: bytes("a/notified"), progressNotify: true });
  const last = await client.set("b/elsewhere", "1");
  const notified = () =>
    stream.frames.filter((frame) => frame.watchId === watchId && !frame.created && frame.events.length === 0);
  await stream.until("a notification", () => notified().some(({ header }) => header!.revision >= last));
  const others = stream.frames.filter((frame) => frame.watchId !== watchId && !frame.created);
  assert.deepEqual(others, []);
  stream.check();
  stream.close();
});

test("reserved keys are never sent", async () => {
  const stream = client.watch();
  const everything = await stream.create({ key: NO_END, rangeEnd: NO_END });
  const hidden = await stream.create({ key: NO_END, rangeEnd: Buffer.of(1) });
  const single = await stream.create({});
  const last = await client.set("a/visible", "1");
  await stream.reaches(everything.watchId, last);
  assert.equal(await stream.progress(), last);
  assert.ok(stream.eventsOf(everything.watchId).every(({ kv }) => kv!.key[0] !== 0));
  assert.deepEqual(stream.shown(hidden.watchId), []);
  assert.deepEqual(stream.shown(single.watchId), []);
  stream.close();
});

test("writes past the proxy and ends of leases arrive as well", async () => {
  const stream = client.watch();
  const { watchId } = await stream.create(EVERYTHING);
  const direct = new EtcdClient(shards[1].endpoint);
  await direct.set("b/direct", "1");
  await stream.until("the direct write", () => stream.eventsOf(watchId).length === 1);
  const { id } = await client.grant({ ttl: 1 });
  await client.put({ key: bytes("a/leased"), value: bytes("1"), lease: id });
  await client.put({ key: bytes("c/leased"), value: bytes("1"), lease: id });
  await stream.until("the ends of the leased keys", () => stream.eventsOf(watchId).length === 5);
  const ends = stream.shown(watchId).slice(3);
  assert.deepEqual(ends.map((event) => event.split(" ")[1]).sort(), ["-a/leased", "-c/leased"]);
  stream.check();
  direct.close();
  stream.close();
});

test("one upstream watch per shard, for any number of watchers", async () => {
  const streams = Array.from({ length: 10 }, () => client.watch());
  const ids: number[][] = [];
  for (const stream of streams) {
    const creates = Array.from({ length: 100 }, (_, n) =>
      stream.send({ kind: "create", request: { key: bytes(`${"abc"[n % 3]}/many/${n % 10}`) } }),
    );
    await stream.until("1,000 watches", () => stream.frames.length === creates.length);
    ids.push(stream.frames.map(({ watchId }) => watchId));
  }
  for (const shard of shards) {
    // The first shard is the timeline's host, whose log is watched as well. Leases and pruning must not add watches. One
    // that was just replaced may still be counted.
    await until(`${shard.name} has one watcher`, async () => {
      const metrics = await (await fetch(`${shard.url}/metrics`)).text();
      const watchers = /^etcd_debugging_mvcc_watcher_total (\d+)$/m.exec(metrics)![1];
      return Number(watchers) <= (shard === shards[0] ? 2 : 1);
    });
  }
  const last = await client.set("b/many/4", "x");
  await Promise.all(
    streams.map((stream, i) =>
      Promise.all(
        ids[i].filter((_, n) => "abc"[n % 3] === "b" && n % 10 === 4).map((id) => stream.reaches(id, last)),
      ),
    ),
  );
  for (const stream of streams) {
    assert.equal(stream.frames.flatMap(({ events }) => events).length, 4);
    stream.close();
  }
});

test("the first watch of a proxy: events right after its creation arrive one by one", async () => {
  const fresh = await openProxy(shards);
  const own = new EtcdClient(fresh.addresses[0]);
  await own.set("a/warm", "");
  const stream = own.watch();
  await stream.create(EVERYTHING);
  let last = 0;
  for (let n = 0; n < 20; n++) last = await own.set(`a/${n}`, "");
  await stream.reaches(0, last);
  assert.equal(stream.eventsOf(0).length, 20);
  const frames = stream.frames.filter(({ events }) => events.length > 0);
  assert.equal(frames.length, 20);
  stream.close();
  own.close();
  await fresh.stop();
});
