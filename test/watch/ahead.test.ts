import assert from "node:assert/strict";
import { test } from "node:test";
import { textRange } from "../../src/watch/keys.js";
import { Watcher } from "../../src/watch/watcher.js";
import { until } from "../support/until.js";
import { FakeClient, FakeShard, FakeTimeline, openHub } from "./fakes.js";

/** A hub over three shards, with a watch for each of `ranges`. `bring(0, 2)` brings the event of shard 0 at its revision 2. */
async function opened(timeline: FakeTimeline, ...ranges: (readonly [from: string, to: string])[]) {
  const fakes = [0, 1, 2].map((index) => new FakeShard(index));
  const hub = openHub(timeline, fakes);
  const flags = { prevKv: false, fragment: false, noPut: false, noDelete: false };
  const watches = ranges.map(([from, to]) => {
    const client = new FakeClient();
    const range = textRange(Buffer.from(from), Buffer.from(to));
    const watcher = new Watcher(client, { id: 0, range, next: 2, ...flags });
    hub.attach(watcher);
    return { client, watcher };
  });
  const upstreams = await Promise.all(fakes.map((fake) => fake.nth(0)));
  for (const upstream of upstreams) upstream.created();
  const bring = (shard: number, ...shardRevisions: number[]) =>
    upstreams[shard].bring(shardRevisions, false, 1, "abc"[shard]);
  return { hub, fakes, watches, upstreams, bring };
}

/** Keys that begin with b are on the shards `b`, those with a or c on shard 0 or 2. */
const homes = (b: readonly number[]) => (key: string) => ({ a: [0], b, c: [2] })[key[0]] ?? [0, 1, 2];

test("while a shard owes events, events of the others are neither lost nor covered too early", async () => {
  const timeline = new FakeTimeline(3);
  const { hub, watches, bring } = await opened(timeline, ["b", "c"]);
  const { client, watcher } = watches[0];

  // Revisions 2…6. Shard 0 is silent. Shard 1 has brought only its first event, shard 2 both events.
  timeline.add(0, 1, 2, 1, 2);
  bring(1, 2);
  bring(2, 2, 3);
  await client.has(1);
  assert.deepEqual(client.events, [3]);
  const { header } = client.frames[0];
  assert.ok(header < 5, `${header} is above revision 5, which the watcher has not got`);
  let watermark = hub.watermark(watcher);
  assert.equal(watermark, 4);

  // Watermarks never fall, in any order of events.
  const rise = () => {
    const now = hub.watermark(watcher);
    assert.ok(now >= watermark, `${now} after ${watermark}`);
    watermark = now;
  };
  hub.onProgress(rise);
  bring(1, 3);
  await new Promise(setImmediate);
  rise();
  bring(0, 2);
  await client.has(2);
  rise();
  assert.deepEqual(client.events, [3, 5]);
  timeline.add(1);
  bring(1, 4);
  await client.has(3);
  assert.deepEqual(client.events, [3, 5, 7]);
  const headers = client.frames.map((frame) => frame.header);
  assert.deepEqual(
    headers,
    [...headers].sort((x, y) => x - y),
  );
  assert.deepEqual(client.compactions, []);
  hub.close();
});

test("a shard that was late for a moment is delivered while another one is away", async () => {
  const timeline = new FakeTimeline(3);
  const { hub, watches, bring } = await opened(timeline, ["b", "c"], ["c", "d"], ["a", "d"]);
  const [onB, onC, all] = watches.map(({ client }) => client);

  // Revisions 2…5. Shard 0 is away. The timeline knows revision 4 before shard 1 brings its event.
  timeline.add(0, 2, 1, 2);
  bring(2, 2, 3);
  await onC.has(2);
  bring(1, 2);
  await onB.has(1);
  timeline.add(1);
  bring(1, 3);
  await onB.has(2);
  assert.deepEqual(onB.events, [4, 6]);
  assert.deepEqual(onC.events, [3, 5]);
  assert.deepEqual(all.events, []);
  bring(0, 2);
  await all.has(5);
  assert.deepEqual(all.events, [2, 3, 4, 5, 6]);
  hub.close();
});

test("a range that needs fewer shards after a plan has not got what was passed over before", async () => {
  const timeline = new FakeTimeline(3, true);
  timeline.place(homes([0, 1]), true);
  const { hub, watches: all, bring } = await opened(timeline, ["b", "c"], ["b", "c"], ["c", "d"]);
  const [watches, onC] = [all.slice(0, 2), all[2]];

  // Shard 0 is away. It may have keys of the range, so the events of shard 1 wait for it.
  timeline.add(0, 1, 2);
  bring(1, 2);
  bring(2, 2);
  await onC.client.has(1);
  assert.deepEqual(watches[0].client.events, []);
  // The plan ends, and the range is on shard 1 alone.
  timeline.place(homes([1]), false);
  timeline.add(2);
  bring(2, 3);
  await onC.client.has(2);
  for (const { watcher } of watches) assert.equal(hub.watermark(watcher), 1);
  timeline.add(1);
  bring(1, 3);
  bring(0, 2);
  for (const { client } of watches) {
    await client.has(2);
    assert.deepEqual(client.events, [3, 6]);
  }
  hub.close();
});

test("a watermark does not fall when a plan gives a range another shard, which owes events", async () => {
  const timeline = new FakeTimeline(3, true);
  timeline.place(homes([1]), false);
  const { hub, watches, upstreams, bring } = await opened(timeline, ["b", "c"]);
  const { client, watcher } = watches[0];

  // Shard 0 is away. The last event has another key, so the watcher has all up to there without having got it.
  timeline.add(0, 1, 1);
  bring(1, 2);
  await client.has(1);
  upstreams[1].bring([3], false, 1, "x");
  await until("the watcher has all events", () => hub.watermark(watcher) === 4);
  timeline.place(homes([0, 1]), true);
  timeline.add(1);
  await new Promise(setImmediate);
  assert.equal(hub.watermark(watcher), 4);
  bring(0, 2);
  bring(1, 4);
  await client.has(2);
  assert.deepEqual(client.events, [3, 5]);
  hub.close();
});

test("during a plan, a shard that is away for long does not stop the watches that do not need it", async () => {
  const timeline = new FakeTimeline(3, true);
  const { hub, watches, upstreams, bring } = await opened(timeline, ["c", "d"], ["b", "c"]);
  const [onC, onB] = watches.map(({ client }) => client);

  // Shard 0 owes revision 2. Shard 2 brings more than is kept for those that wait.
  timeline.add(0);
  const many = Array.from({ length: 24 }, (_, n) => n + 2);
  for (const shardRevision of many) {
    timeline.add(2);
    upstreams[2].bring([shardRevision], false, 1 << 20, "c");
  }
  await onC.has(many.length);
  timeline.add(1);
  bring(1, 2);
  await onB.has(1);
  assert.deepEqual(
    onC.events,
    Array.from(many, (n) => n + 1),
  );
  assert.deepEqual(onB.events, [27]);
  hub.close();
});

test("a pruning while a shard is away ends the watches that wait for the shard, and the others lose nothing", async () => {
  const timeline = new FakeTimeline(3);
  const { hub, fakes, watches, bring } = await opened(timeline, ["b", "c"], ["a", "d"]);
  const [onB, all] = watches.map(({ client }) => client);

  // Shard 0 owes revision 2.
  timeline.add(0, 1, 1, 2);
  bring(1, 2, 3);
  bring(2, 2);
  await onB.has(2);
  timeline.compactRevision = 4;
  timeline.prunedAt = 4;
  timeline.add(1);
  await all.until(() => all.compactions.length > 0);
  assert.deepEqual([all.compactions, all.events], [[4], []]);
  const late = new FakeClient();
  const range = textRange(Buffer.from("b"), Buffer.from("c"));
  hub.attach(
    new Watcher(late, {
      id: 0,
      range,
      next: 4,
      prevKv: false,
      fragment: false,
      noPut: false,
      noDelete: false,
    }),
  );
  const replay = await fakes[1].nth(1);
  replay.created();
  replay.bring([3, 4], false, 1, "b");
  bring(1, 4);
  await onB.has(3);
  assert.deepEqual([onB.compactions, onB.events], [[], [3, 4, 6]]);
  await late.has(2);
  assert.deepEqual(late.events, [4, 6]);
  hub.close();
});
