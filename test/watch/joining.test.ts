import assert from "node:assert/strict";
import { test } from "node:test";
import { ShardSet } from "../../src/shard/shardSet.js";
import { type Runtime, systemRuntime } from "../../src/turn/runtime.js";
import { textRange } from "../../src/watch/keys.js";
import { Watcher } from "../../src/watch/watcher.js";
import { FakeClient, FakeShard, FakeTimeline, openHubOver } from "./fakes.js";

const range = textRange(Buffer.from("k"), Buffer.from("l"));
const flags = { prevKv: false, fragment: false, noPut: false, noDelete: false };

function open(count: number, timelineShards: number, runtime?: Runtime) {
  const timeline = new FakeTimeline(timelineShards);
  const fakes = Array.from({ length: timelineShards }, (_, index) => new FakeShard(index));
  const shards = ShardSet.of(fakes.slice(0, count).map(({ shard }) => shard));
  const hub = openHubOver(timeline, shards, runtime);
  const client = new FakeClient();
  return { timeline, fakes, shards, hub, client };
}

test("a shard that joins is watched from its first revision that was not delivered", async () => {
  const { timeline, fakes, shards, hub, client } = open(1, 2);
  const watcher = new Watcher(client, { id: 0, range, next: 2, ...flags });
  hub.attach(watcher);
  const old = await fakes[0].nth(0);
  old.created();
  // The timeline has a revision of the shard already when the proxy learns of it.
  timeline.add(0, 1);
  shards.add(1, fakes[1].shard);
  const joined = await fakes[1].nth(0);
  assert.equal(joined.request?.startRevision, 2);
  assert.deepEqual([...hub.status.missing.keys()], [0, 1]);
  joined.created();
  joined.bring([2]);
  old.bring([2]);
  await client.has(2);
  assert.deepEqual(client.events, [2, 3]);
  assert.equal(hub.stats.upstream.at(1).events, 1);
  hub.close();
  assert.ok(joined.cancelled);
});

test("a shard that retires is neither waited for nor missed", async () => {
  let skipped = 0;
  const runtime = { ...systemRuntime, now: () => systemRuntime.now() + skipped };
  const { timeline, fakes, shards, hub, client } = open(2, 2, runtime);
  const watcher = new Watcher(client, { id: 0, range, next: 2, ...flags });
  hub.attach(watcher);
  const [old, leaving] = await Promise.all(fakes.map((fake) => fake.nth(0)));
  old.created();
  leaving.created();
  timeline.add(0, 1);
  leaving.bring([2]);
  old.bring([2]);
  await client.has(2);
  leaving.end();
  shards.retire(1);
  skipped = 60_000;
  assert.equal(hub.lacksLeader(watcher), false);
  assert.deepEqual([...hub.status.missing.keys()], [0]);
  // Whatever the shard still does cannot have events for clients.
  timeline.add(1, 0);
  old.bring([3]);
  await client.has(3);
  assert.deepEqual(client.events, [2, 3, 5]);
  assert.deepEqual(client.compactions, []);
  assert.equal(fakes[1].streams.length, 1, "its watch is not opened again");
  hub.close();
});

for (const place of ["synced", "replaying"]) {
  test(`a ${place} watcher that needs lost events of a shard that retires is ended as compacted, and resumes from there`, async () => {
    const { timeline, fakes, shards, hub, client } = open(2, 2);
    // A move at revision 4 took all keys away from shard 1.
    const placement = { plans: 1, plan: undefined, inForce: "0", moves: [{ revision: 4 }] };
    Object.assign(timeline, { placement });
    Object.assign(timeline.locator as object, {
      shardsFrom: (_: unknown, revision: number) => (revision <= 4 ? [0, 1] : [0]),
    });
    if (place === "replaying") timeline.add(0);
    hub.attach(new Watcher(client, { id: 0, range, next: 2, ...flags }));
    // Then there is a watch for the replay, too.
    const last = place === "replaying" ? 1 : 0;
    for (const fake of fakes) {
      await fake.nth(last);
      for (const stream of fake.streams) stream.created();
    }
    if (place === "synced") timeline.add(0);
    const bring = (...revisions: number[]) => {
      for (const stream of fakes[0].streams.filter(({ cancelled }) => !cancelled))
        stream.bring(revisions.filter((revision) => revision >= stream.request!.startRevision));
    };
    // Shard 1 does not bring its events at 3 and 4.
    timeline.add(1, 1, 0, 0, 0);
    bring(2, 3, 4, 5);
    await client.has(1);

    Object.assign(timeline, { compactRevision: 6 });
    placement.moves = [];
    timeline.add();
    shards.retire(1);
    await client.until(() => client.compactions.length > 0);
    assert.deepEqual(client.compactions, [6]);
    assert.deepEqual(client.events, [2]);
    const resumed = new FakeClient();
    hub.attach(new Watcher(resumed, { id: 1, range, next: 6, ...flags }));
    timeline.add(0);
    bring(6);
    await resumed.until(() => resumed.events.at(-1) === 8);
    assert.deepEqual(resumed.events, [6, 7, 8]);
    assert.deepEqual(resumed.compactions, []);
    hub.close();
  });
}

for (const place of ["synced", "replaying"]) {
  test(`when a plan ends and a shard retires, a ${place} watcher that lags behind gets all events`, async () => {
    const { timeline, fakes, shards, hub, client } = open(2, 2);
    const placement = timeline.placement as { plans: number; plan: object | undefined };
    Object.assign(placement, { plans: 1, plan: { number: 1 } });
    // The proxy may retire a shard before the hub follows the end of the plan.
    timeline.onAdvance(() => {
      if (placement.plan === undefined) shards.retire(1);
    });
    if (place === "replaying") timeline.add(0);
    hub.attach(new Watcher(client, { id: 0, range, next: 2, ...flags }));
    // Then there is a watch for the replay, too.
    const last = place === "replaying" ? 1 : 0;
    for (const fake of fakes) {
      await fake.nth(last);
      for (const stream of fake.streams) stream.created();
    }
    if (place === "synced") timeline.add(0);
    placement.plan = undefined;
    (timeline.locator as { shardsFrom: () => readonly number[] }).shardsFrom = () => [0];
    timeline.add(1, 0);
    for (const stream of fakes[0].streams) {
      const from = stream.request!.startRevision;
      stream.bring([2, 3].filter((revision) => revision >= from));
    }
    await client.has(2);
    assert.deepEqual(client.events, [2, 4]);
    assert.deepEqual(client.compactions, []);
    hub.close();
  });
}
