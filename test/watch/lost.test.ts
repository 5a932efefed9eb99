import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Hub } from "../../src/watch/hub.js";
import { textRange } from "../../src/watch/keys.js";
import { Watcher } from "../../src/watch/watcher.js";
import { FakeClient, FakeShard, FakeTimeline, openHub, type Upstream } from "./fakes.js";

/*
 * A shard that is compacted while the proxy has no watch on it. Watchers lose only events that they need and that were
 * compacted.
 */

interface Setting {
  readonly timeline: FakeTimeline;
  readonly hub: Hub;
  readonly fakes: readonly FakeShard[];
  watch(shard: number, next: number): { client: FakeClient; watcher: Watcher };
}

function setUp(): Setting {
  const timeline = new FakeTimeline(2);
  const fakes = [0, 1].map((index) => new FakeShard(index));
  const hub = openHub(timeline, fakes);
  const watch = (shard: number, next: number) => {
    const client = new FakeClient();
    const range = textRange(Buffer.from("ab"[shard]), Buffer.from("bc"[shard]));
    const flags = { prevKv: false, fragment: false, noPut: false, noDelete: false };
    const watcher = new Watcher(client, { id: 0, range, next, ...flags });
    hub.attach(watcher);
    return { client, watcher };
  };
  return { timeline, hub, fakes, watch };
}

const upTo = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Sends events like etcd, from the start revision of a watch, which is at most the compacted one. */
function goOn(upstream: Upstream, to: number): void {
  upstream.created();
  upstream.bring(upTo(upstream.request!.startRevision, to), false, 1, "b");
}

test("a shard is compacted while its watch is gone: watchers that started after that lose nothing", async () => {
  const { timeline, hub, fakes, watch } = setUp();
  const old = watch(1, 2);
  const upstreams = await Promise.all(fakes.map((fake) => fake.nth(0)));
  for (const upstream of upstreams) upstream.created();
  // The watch on shard 1 is gone. The shard advances to shard revision 11, which makes revisions 2…11.
  timeline.add(...new Array<number>(6).fill(1));
  const young = watch(1, 8);
  timeline.add(...new Array<number>(4).fill(1));
  upstreams[1].end();
  (await fakes[1].nth(1)).compacted(5);
  await old.client.until(() => old.client.compactions.length > 0);
  assert.deepEqual(old.client.compactions, [5]);
  (await fakes[1].nth(2)).compacted(5);
  goOn(await fakes[1].nth(3), 12);
  timeline.add(1);
  await young.client.has(1);
  assert.deepEqual(young.client.events, upTo(8, 12));
  hub.close();
});

test("a shard is compacted while its watch is gone: watchers that need lost events end, early and late ones", async () => {
  const { timeline, hub, fakes, watch } = setUp();
  watch(0, 2);
  const upstreams = await Promise.all(fakes.map((fake) => fake.nth(0)));
  for (const upstream of upstreams) upstream.created();
  // Shard 0 is silent and delays all. The watch on shard 1 is gone while the shard advances to shard revision 11.
  timeline.add(0, ...new Array<number>(10).fill(1));
  upstreams[1].end();
  (await fakes[1].nth(1)).compacted(5);
  await fakes[1].nth(2);
  await turn();
  // Shard revision 5 is revision 6.
  const late = watch(1, 4);
  await late.client.until(() => late.client.compactions.length > 0);
  assert.deepEqual(late.client.compactions, [6]);
  const fine = watch(1, 6);
  (await fakes[1].nth(2)).compacted(5);
  goOn(await fakes[1].nth(3), 11);
  upstreams[0].bring([2], false, 1, "a");
  await fine.client.has(7);
  assert.deepEqual(fine.client.events, upTo(6, 12));
  assert.deepEqual(late.client.events, []);
  hub.close();
});
