import assert from "node:assert/strict";
import { test } from "node:test";
import type { Run, Timeline } from "../../src/timeline/view.js";
import { Hub } from "../../src/watch/hub.js";
import { keyRange } from "../../src/watch/keys.js";
import { type Outlet, Watcher } from "../../src/watch/watcher.js";
import { WatchResponse } from "../../src/wire/messages.js";
import { encodeHeader } from "../../src/wire/rewrite.js";
import { FakeShard, type Upstream } from "./fakes.js";

/** Revision 1 is empty; from 2 on each revision is the next shard revision of the shard that `order` names. */
class FakeTimeline {
  private readonly runs: Run[] = [];
  private readonly cuts: number[];
  readonly compactRevision = 0;
  private readonly listeners = new Set<() => void>();

  constructor(shards: number) {
    this.cuts = new Array<number>(shards).fill(1);
  }

  get head(): number {
    return this.runs.length + 1;
  }

  add(...order: number[]): void {
    for (const shard of order) {
      this.runs.push({ revision: this.head + 1, shard, shardRevision: ++this.cuts[shard], length: 1 });
    }
    for (const listener of this.listeners) listener();
  }

  cut = (shard: number): number => this.cuts[shard];
  isSealed = (shard: number, shardRevision: number): boolean => shardRevision <= this.cuts[shard];
  runAt = (revision: number): Run => this.runs[revision - 2];
  toRevision = (shard: number, shardRevision: number): number =>
    this.runs.find((run) => run.shard === shard && run.shardRevision === shardRevision)?.revision ?? 0;
  onAdvance = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
}

/** What a client got: its frames' headers and the revisions of their events. */
class Client implements Outlet {
  readonly blocked = false;
  readonly frames: { header: number; events: number[] }[] = [];
  private changed: () => void = () => {};

  send(parts: readonly Uint8Array[]): void {
    const { header, events } = WatchResponse.decode(Buffer.concat(parts));
    this.frames.push({ header: header?.revision ?? 0, events: events.map(({ kv }) => kv!.modRevision) });
    this.changed();
  }

  header(revision: number): Uint8Array {
    return encodeHeader({ clusterId: 1n, memberId: 1n, revision, raftTerm: 1 });
  }

  compacted(): void {
    assert.fail("nothing is compacted here");
  }

  get events(): number[] {
    return this.frames.flatMap(({ events }) => events);
  }

  async has(count: number): Promise<void> {
    while (this.events.length < count) {
      await new Promise<void>((resolve) => {
        this.changed = resolve;
      });
    }
  }
}

test("while a shard owes its events, what the others bring is neither lost nor covered too early", async () => {
  const timeline = new FakeTimeline(3);
  const fakes = [0, 1, 2].map((index) => new FakeShard(index));
  const hub = new Hub({
    timeline: timeline as unknown as Timeline,
    shards: fakes.map(({ shard }) => shard),
    log: { info: () => {}, warn: () => {} },
    historyBytes: 1 << 20,
  });
  const client = new Client();
  const flags = { prevKv: false, fragment: false, noPut: false, noDelete: false };
  const range = keyRange(Buffer.from("b"), Buffer.from("c"));
  const watcher = new Watcher(client, { id: 0, range, shards: [1], next: 2, ...flags });
  hub.attach(watcher);
  const upstreams: Upstream[] = await Promise.all(fakes.map((fake) => fake.nth(0)));
  for (const upstream of upstreams) upstream.created();

  const bring = (shard: number, ...shardRevisions: number[]) =>
    upstreams[shard].bring(shardRevisions, false, 1, "abc"[shard]);

  // Revisions 2…6. Shard 0 is silent; shard 1 has brought its first event only, shard 2 both of its own.
  timeline.add(0, 1, 2, 1, 2);
  bring(1, 2);
  bring(2, 2, 3);
  await client.has(1);
  assert.deepEqual(client.events, [3]);
  const { header } = client.frames[0];
  assert.ok(header < 5, `${header} is above revision 5, which the watcher has not been shown`);
  let watermark = hub.watermark(watcher);
  assert.equal(watermark, 4);

  // Watermarks never fall, whatever comes in whatever order.
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
  hub.close();
});
