import assert from "node:assert/strict";
import { test } from "node:test";
import { textRange } from "../../src/watch/keys.js";
import { Watcher } from "../../src/watch/watcher.js";
import { until } from "../support/until.js";
import { FakeClient, FakeShard, FakeTimeline, openHub, settled } from "./fakes.js";

/* A shard that the placement uses no more, or again. */

function setUp() {
  const timeline = new FakeTimeline(2);
  const fakes = [0, 1].map((index) => new FakeShard(index));
  const hub = openHub(timeline, fakes);
  const watch = (next: number) => {
    const client = new FakeClient();
    const flags = { prevKv: false, fragment: false, noPut: false, noDelete: false };
    const range = textRange(Buffer.from("0"), Buffer.of(0));
    const watcher = new Watcher(client, { id: 0, range, next, ...flags });
    hub.attach(watcher);
    return { client, watcher };
  };
  /** Ends a plan after which all keys are on `shards`. */
  const place = (...shards: number[]) => {
    const { locator, placement } = settled(() => shards);
    Object.assign(timeline, { locator, placement: { ...placement, inForce: shards.join() } });
  };
  return { timeline, fakes, hub, watch, place };
}

test("revisions of a shard out of use are empty for watches from now and from the past", async (t) => {
  const { timeline, fakes, hub, watch, place } = setUp();
  t.after(() => hub.close());
  const now = watch(2);
  const [first, second] = await Promise.all(fakes.map((fake) => fake.nth(0)));
  for (const upstream of [first, second]) upstream.created();
  timeline.add(0);
  first.bring([2]);
  await now.client.has(1);
  place(0);
  timeline.add(1, 1, 0, 1);
  assert.ok(second.cancelled);
  first.bring([3]);
  await now.client.has(2);
  assert.deepEqual(now.client.events, [2, 5]);
  await until("the last revision is passed", () => hub.watermark(now.watcher) === 6);

  const past = watch(3);
  await past.client.has(1);
  assert.deepEqual(past.client.events, [5]);
  await until("it has caught up", () => past.watcher.state === "synced");

  // The shard comes back into use, without the revisions that nobody needed.
  place(0, 1);
  timeline.add(0);
  const again = await fakes[1].nth(1);
  assert.equal(again.request?.startRevision, 5);
  again.created();
  timeline.add(1);
  first.bring([4]);
  again.bring([5]);
  for (const { client } of [now, past]) await client.until(() => client.events.at(-1) === 8);
  assert.deepEqual(now.client.events, [2, 5, 7, 8]);
});
