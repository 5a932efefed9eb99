import assert from "node:assert/strict";
import { test } from "node:test";
import { systemRuntime } from "../../src/turn/runtime.js";
import { textRange } from "../../src/watch/keys.js";
import { Watcher } from "../../src/watch/watcher.js";
import { FakeClient, FakeShard, FakeTimeline, openHub } from "./fakes.js";

const watcherFrom = (client: FakeClient, next: number) =>
  new Watcher(client, {
    id: 0,
    range: textRange(Buffer.from("k"), Buffer.from("l")),
    next,
    prevKv: false,
    fragment: false,
    noPut: false,
    noDelete: false,
  });

test("a replay whose watch has become silent is opened again", async () => {
  let elapsed = 0;
  let check = () => {};
  const runtime = {
    ...systemRuntime,
    now: () => elapsed,
    interval: (_ms: number, fn: () => void) => {
      check = fn;
      return () => {};
    },
  };
  const timeline = new FakeTimeline(1);
  timeline.add(0, 0);
  const shard = new FakeShard();
  const hub = openHub(timeline, [shard], runtime);
  const client = new FakeClient();
  hub.attach(watcherFrom(client, 2));
  const [upstream, silent] = [await shard.nth(0), await shard.nth(1)];
  for (const one of [upstream, silent]) one.created();
  elapsed += 10_000;
  check();
  const again = await shard.nth(2);
  assert.ok(silent.cancelled);
  assert.ok(!upstream.cancelled, "a watch that owes nothing stays");
  again.created();
  again.bring([2, 3]);
  await client.has(2);
  assert.deepEqual(client.events, [2, 3]);
  hub.close();
});

test("an event that waited while the timeline was pruned keeps its revision", async () => {
  const timeline = new FakeTimeline(2);
  const shards = [0, 1].map((index) => new FakeShard(index));
  const hub = openHub(timeline, shards);
  const client = new FakeClient();
  hub.attach(watcherFrom(client, 2));
  const upstreams = await Promise.all(shards.map((shard) => shard.nth(0)));
  for (const upstream of upstreams) upstream.created();
  // Revision 2 is of shard 1, which is late. Revision 3 is of shard 0, and waits.
  timeline.add(1, 0);
  upstreams[0]!.bring([2]);
  timeline.toRevision = () => 1;
  upstreams[1]!.bring([2], false, 1, "x");
  await client.has(1);
  assert.deepEqual(client.events, [3]);
  hub.close();
});
