import assert from "node:assert/strict";
import { test } from "node:test";
import type { Run } from "../../src/timeline/view.js";
import { textRange } from "../../src/watch/keys.js";
import { type Outlet, Watcher } from "../../src/watch/watcher.js";
import { WatchResponse } from "../../src/wire/messages.js";
import { encodeHeader } from "../../src/wire/rewrite.js";
import { FakeShard, openHub, settled } from "./fakes.js";

/** A timeline over one shard, with the shard's revisions. It knows those at or above `known`. */
class FakeTimeline {
  head = 10;
  known = 2;
  compactRevision = 0;
  prunedAt = 0;
  readonly listeners = new Set<() => void>();
  readonly locator = settled(() => [0]).locator;
  readonly placement = settled(() => [0]).placement;

  cut = (): number => this.head;
  cutAt = (revision: number): number => revision;
  toRevision = (_shard: number, shardRevision: number): number => shardRevision;
  toShardRevision = (revision: number): number => revision;
  isSealed = (_shard: number, shardRevision: number): boolean => shardRevision <= this.head;
  onAdvance = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  runAt(revision: number): Run {
    if (revision < this.known) throw new RangeError(`${revision}`);
    return { revision, shard: 0, shardRevision: revision, length: this.head - revision + 1 };
  }

  advance(head: number): void {
    this.head = head;
    for (const listener of this.listeners) listener();
  }
}

class FakeOutlet implements Outlet {
  readonly blocked = false;
  readonly revisions: number[] = [];
  readonly compactions: number[] = [];
  private changed: () => void = () => {};

  send(parts: readonly Uint8Array[]): void {
    const { events } = WatchResponse.decode(Buffer.concat(parts));
    this.revisions.push(...events.map(({ kv }) => kv!.modRevision));
    this.changed();
  }

  header(revision: number): Uint8Array {
    return encodeHeader({ clusterId: 1n, memberId: 1n, revision, raftTerm: 1 });
  }

  compacted(_watcher: Watcher, compactRevision: number): void {
    this.compactions.push(compactRevision);
    this.changed();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.changed = resolve;
      });
    }
  }
}

/** A watch of all keys from the revision `next` on. */
function watchAll(hub: ReturnType<typeof openHub>, next: number) {
  const outlet = new FakeOutlet();
  const range = textRange(Buffer.of(1), Buffer.of(0));
  const flags = { prevKv: false, fragment: false, noPut: false, noDelete: false };
  const watcher = new Watcher(outlet, { id: 0, range, next, ...flags });
  hub.attach(watcher);
  return { outlet, watcher };
}

test("a proxy that finds the timeline pruned beyond its position ends its watchers, and continues", async () => {
  const timeline = new FakeTimeline();
  const shard = new FakeShard();
  const hub = openHub(timeline, [shard]);
  const watch = (next: number) => watchAll(hub, next);
  const now = watch(11);
  const future = watch(40);
  const upstream = await shard.nth(0);
  upstream.created();
  upstream.bring([11, 12]);
  timeline.advance(12);
  await now.outlet.until(() => now.outlet.revisions.length === 2);
  // Cut off for long. Others wrote up to 30, compacted at 25 and pruned the revisions before.
  timeline.compactRevision = 25;
  timeline.known = 25;
  timeline.advance(30);
  await now.outlet.until(() => now.outlet.compactions.length > 0);
  assert.deepEqual(now.outlet.compactions, [25]);
  assert.equal(now.watcher.state, "detached");
  assert.deepEqual(future.outlet.compactions, []);
  const again = watch(25);
  upstream.bring(Array.from({ length: 30 }, (_, i) => 13 + i));
  timeline.advance(42);
  await again.outlet.until(() => again.outlet.revisions.length === 18);
  assert.deepEqual(
    again.outlet.revisions,
    Array.from({ length: 18 }, (_, i) => 25 + i),
  );
  await future.outlet.until(() => future.outlet.revisions.length === 3);
  assert.deepEqual(future.outlet.revisions, [40, 41, 42]);
  assert.deepEqual(now.outlet.revisions, [11, 12]);
  hub.close();
  assert.ok(upstream.cancelled);
  assert.equal(timeline.listeners.size, 0);
});

test("a watch that has not got events from before a pruning ends, because they may name forgotten revisions", async () => {
  const timeline = new FakeTimeline();
  const shard = new FakeShard();
  const hub = openHub(timeline, [shard]);
  const watch = (next: number) => watchAll(hub, next).outlet;
  const [old, now] = [watch(5), watch(11)];
  const [current, past] = await Promise.all([shard.nth(0), shard.nth(1)]);
  for (const upstream of [current, past]) upstream.created();
  // Both watches of the shard are late.
  timeline.advance(13);
  timeline.compactRevision = 12;
  timeline.prunedAt = 12;
  timeline.advance(14);
  const after = watch(12);
  current.bring([11, 12, 13, 14]);
  if (!past.cancelled) past.bring([5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
  await old.until(() => old.compactions.length + old.revisions.length > 0);
  await now.until(() => now.compactions.length + now.revisions.length > 0);
  assert.deepEqual([old.compactions, old.revisions], [[12], []]);
  assert.deepEqual([now.compactions, now.revisions], [[12], []]);
  await after.until(() => after.revisions.length === 3);
  assert.deepEqual(after.revisions, [12, 13, 14]);
  hub.close();
});

test("a full feed whose events were pruned from the timeline continues", async () => {
  const timeline = new FakeTimeline();
  const shard = new FakeShard();
  const hub = openHub(timeline, [shard]);
  const range = textRange(Buffer.of(1), Buffer.of(0));
  const flags = { prevKv: false, fragment: false, noPut: false, noDelete: false };
  const watcher = new Watcher(new FakeOutlet(), { id: 0, range, next: 70, ...flags });
  hub.attach(watcher);
  const upstream = await shard.nth(0);
  upstream.created();
  for (let revision = 11; revision < 28; revision++) upstream.bring([revision], false, 1 << 20);
  assert.ok(upstream.paused);
  timeline.compactRevision = 60;
  timeline.known = 60;
  timeline.advance(69);
  assert.ok(!upstream.paused);
  hub.close();
});
