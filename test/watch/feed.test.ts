import assert from "node:assert/strict";
import { test } from "node:test";
import { systemRuntime } from "../../src/turn/runtime.js";
import { Feed, type FeedOptions } from "../../src/watch/feed.js";
import { FakeShard } from "./fakes.js";

/* Rare behavior of etcd. The shard's end of the watch is a fake. */

function open(options: Partial<FeedOptions> = {}) {
  const shard = new FakeShard();
  const lost: number[] = [];
  const reached: number[] = [];
  const feed: Feed = new Feed({
    stats: { events: 0, opened: 0 },
    shard: shard.shard,
    from: 10,
    fromCompacted: false,
    prevKv: false,
    log: { info: () => {}, warn: () => {} },
    runtime: systemRuntime,
    arrived: () => reached.push(feed.reached),
    lost: (compacted) => lost.push(compacted),
    ...options,
  });
  const take = (revision: number) => feed.take(revision).map(({ key }) => Buffer.from(key).toString());
  return { shard, feed, lost, reached, take };
}

test("a fragment does not complete its revision; an incomplete revision is read again after the watch is lost", async () => {
  const { shard, feed, take } = open();
  const first = await shard.nth(0);
  // At the next write, so that etcd serves it without a delay.
  assert.equal(first.request!.startRevision, 10);
  first.created();
  first.bring([9, 10, 11, 11], true);
  assert.equal(feed.reached, 10);
  first.bring([11, 11, 12], true);
  assert.equal(feed.reached, 11);
  first.end();
  const second = await shard.nth(1);
  assert.equal(second.request!.startRevision, 11);
  first.bring([12]);
  assert.equal(feed.reached, 11);
  second.created();
  second.bring([11, 11, 11, 11, 12, 12]);
  assert.equal(feed.reached, 12);
  assert.deepEqual(take(10), ["k10"]);
  assert.deepEqual(take(11), ["k11", "k11", "k11", "k11"]);
  assert.deepEqual(take(12), ["k12", "k12"]);
  feed.close();
});

test("a missing revision reopens the watch; if it is still missing, it is lost", async () => {
  const { shard, feed, lost } = open();
  const first = await shard.nth(0);
  first.created();
  first.bring([10, 12]);
  assert.equal(feed.reached, 9);
  const second = await shard.nth(1);
  second.created();
  second.bring([9, 10, 11, 12]);
  assert.equal(feed.reached, 12);
  second.bring([14]);
  const third = await shard.nth(2);
  third.created();
  third.bring([15, 16]);
  assert.deepEqual(lost, [15]);
  assert.equal(feed.reached, 12);
  assert.ok(third.cancelled);
});

test("a shard compacted beyond what the feed needs is reported as lost", async () => {
  const { shard, lost } = open();
  (await shard.nth(0)).compacted(11);
  assert.deepEqual(lost, [11]);
});

test("the first revision that the feed needs is never skipped, if compacted with or without its events", async () => {
  const { shard, feed, lost } = open();
  const first = await shard.nth(0);
  first.created();
  first.bring([11]);
  assert.equal(feed.reached, 9);
  const second = await shard.nth(1);
  assert.equal(second.request!.startRevision, 9);
  second.compacted(10);
  assert.deepEqual(lost, [10]);

  const other = open();
  const only = await other.shard.nth(0);
  only.created();
  only.bring([10]);
  assert.equal(other.feed.reached, 10);
  other.feed.close();
});

test("a feed that may begin at the compacted revision does, and waits for its events for a limited time", async () => {
  const { shard, feed, lost, take } = open({ fromCompacted: true });
  (await shard.nth(0)).compacted(10);
  const second = await shard.nth(1);
  assert.equal(second.request!.startRevision, 10);
  second.created();
  second.bring([11]);
  assert.equal(feed.reached, 11);
  assert.deepEqual(take(10), []);
  assert.deepEqual(take(11), ["k11"]);
  assert.deepEqual(lost, []);
  feed.close();

  const waiting = await new Promise<number>((resolve) => {
    const other = open({ fromCompacted: true, arrived: () => resolve(other.feed.reached) });
    void other.shard.nth(0).then((upstream) => upstream.compacted(10));
    void other.shard.nth(1).then((upstream) => upstream.created());
  });
  assert.equal(waiting, 10);
});

test("a shard that is slow with everything may still have the events of the compacted revision", async () => {
  const { shard, feed, take } = open({ fromCompacted: true });
  let answer = () => {};
  const asked = new Promise<void>((resolve) => {
    shard.answering = new Promise<void>((wake) => {
      answer = wake;
    });
    const { unary } = shard;
    shard.unary = (...args) => {
      resolve();
      return unary.apply(shard, args);
    };
  });
  (await shard.nth(0)).compacted(10);
  const second = await shard.nth(1);
  second.created();
  await asked;
  await new Promise((resolve) => setTimeout(resolve, 600));
  answer();
  await new Promise(setImmediate);
  assert.equal(feed.reached, 9);
  second.bring([10]);
  assert.deepEqual(take(10), ["k10"]);
  feed.close();
});

test("a watch that is cancelled after each creation is reopened with growing delays", async () => {
  const { shard, feed } = open();
  const begin = performance.now();
  for (let n = 0; n < 6; n++) {
    const upstream = await shard.nth(n);
    upstream.created();
    upstream.cancelledFor("etcdserver: permission denied");
  }
  const failing = performance.now() - begin;
  assert.ok(failing >= 25 + 50 + 100 + 200 + 400, `five pauses in ${failing} ms`);
  // After a success, the next one is reopened soon.
  const upstream = await shard.nth(6);
  upstream.created();
  upstream.bring([10]);
  upstream.end();
  const again = performance.now();
  await shard.nth(7);
  assert.ok(performance.now() - again < 500);
  feed.close();
});

test("a feed whose events are not taken pauses its shard", async () => {
  const { shard, feed, take } = open();
  const upstream = await shard.nth(0);
  upstream.created();
  let revision = 9;
  while (!upstream.paused) upstream.bring([++revision], false, 1 << 20);
  assert.ok(revision - 9 <= 17, `${revision - 9} MiB`);
  for (let i = 10; i <= revision; i++) assert.deepEqual(take(i), [`k${i}`]);
  assert.equal(upstream.paused, false);
  upstream.bring([revision + 1]);
  assert.equal(feed.reached, revision + 1);
  feed.close();
});

test("a revision larger than the feed's bound is read completely", async () => {
  const { shard, feed, take } = open();
  const upstream = await shard.nth(0);
  upstream.created();
  // A revision cannot be taken before it is complete.
  for (let i = 0; i < 20; i++) {
    upstream.bring([10], true, 1 << 20);
    assert.equal(upstream.paused, false, `paused after ${i + 1} MiB of revision 10`);
  }
  upstream.bring([10]);
  assert.equal(feed.reached, 10);
  assert.equal(upstream.paused, true);
  for (let i = 0; i < 20; i++) upstream.bring([11], true, 1 << 20);
  assert.equal(take(10).length, 21);
  assert.equal(upstream.paused, false, "paused though all complete revisions were taken");
  upstream.bring([11]);
  assert.equal(take(11).length, 21);
  assert.equal(upstream.paused, false);
  feed.close();
});

test("a watch that is replaced for previous keys counts as broken until it is created", async () => {
  const { shard, feed } = open();
  (await shard.nth(0)).created();
  assert.equal(feed.broken, 0);
  feed.bringPrevKv(true);
  const second = await shard.nth(1);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(feed.broken > 0);
  second.created();
  assert.equal(feed.broken, 0);
  feed.close();
});
