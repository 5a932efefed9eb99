import assert from "node:assert/strict";
import type { CallOptions, Done, Shard, ShardStream, StreamEvents } from "../../src/shard/shard.js";
import type { ShardSet } from "../../src/shard/shardSet.js";
import { Code, StatusError } from "../../src/status/error.js";
import type { Run, Timeline } from "../../src/timeline/view.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { Hub } from "../../src/watch/hub.js";
import type { Outlet, Watcher } from "../../src/watch/watcher.js";
import { type WatchCreateRequest, WatchRequest, WatchResponse } from "../../src/wire/messages.js";
import { encodeHeader } from "../../src/wire/rewrite.js";
import { shardSet } from "../support/shardSet.js";

/** The shard's end of a watch, controlled by a test. */
export class Upstream implements ShardStream {
  request: WatchCreateRequest | undefined;
  paused = false;
  cancelled = false;

  constructor(private readonly events: StreamEvents) {}

  send(message: Uint8Array): void {
    const decoded = WatchRequest.decode(message);
    assert.equal(decoded.kind, "create");
    if (decoded.kind === "create") this.request = decoded.request;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  cancel(): void {
    this.cancelled = true;
  }

  created(): void {
    this.events.message(WatchResponse.encode({ created: true }));
  }

  /** Sends a frame with an event per revision. Its key is `prefix` and the revision, with a previous key if requested. */
  bring(revisions: readonly number[], fragment = false, size = 1, prefix = "k"): void {
    const events = revisions.map((modRevision) => {
      const key = Buffer.from(`${prefix}${modRevision}`);
      const kv = { key, value: Buffer.alloc(size), modRevision };
      return this.request?.prevKv ? { kv, prevKv: { key } } : { kv };
    });
    this.events.message(WatchResponse.encode({ events, fragment }));
  }

  compacted(compactRevision: number): void {
    this.events.message(WatchResponse.encode({ canceled: true, compactRevision }));
  }

  cancelledFor(cancelReason: string): void {
    this.events.message(WatchResponse.encode({ canceled: true, cancelReason }));
  }

  end(): void {
    this.events.closed(new StatusError(Code.UNAVAILABLE, "gone"));
  }
}

/** A fake shard with watches and the probe. */
export class FakeShard {
  readonly name = "fake";
  readonly streams: Upstream[] = [];
  /** Resolves when it responds to a probe. Default: at once. */
  answering: Promise<unknown> = Promise.resolve();
  private opened: () => void = () => {};

  constructor(readonly index = 0) {}

  /** The shard for the code under test. */
  get shard(): Shard {
    return this as unknown as Shard;
  }

  stream(_path: string, events: StreamEvents): ShardStream {
    const upstream = new Upstream(events);
    this.streams.push(upstream);
    this.opened();
    return upstream;
  }

  unary(_path: string, _request: Uint8Array, _options: CallOptions, done: Done): () => void {
    void this.answering.then(() => done(undefined, new Uint8Array(0)));
    return () => {};
  }

  async call(): Promise<Uint8Array> {
    return new Uint8Array(0);
  }

  /** The `n`th watch that the feed opens, from 0. */
  async nth(n: number): Promise<Upstream> {
    while (this.streams.length <= n) {
      await new Promise<void>((resolve) => {
        this.opened = resolve;
      });
    }
    return this.streams[n];
  }
}

/**
 * The placement of a store that has never had a plan, or whose first plan has moved nothing yet. `shardsOf` returns the
 * shards of the range that begins at a key.
 */
export function settled(shardsOf: (key: string) => readonly number[], hasPlan = false) {
  const locator = {
    withMoves: () => locator,
    feedFrom: (revision: number) => revision,
    wholeFrom: (revision: number) => revision,
    countsAt: (_key: Uint8Array, _shard: number, _shardRevision: number, revision: number) => revision,
    endsAt: () => [],
    shardsFrom: ({ key }: { key: Uint8Array }) => shardsOf(Buffer.from(key).toString()),
  };
  const plan = hasPlan ? { frozen: undefined } : undefined;
  return { locator, placement: { plans: hasPlan ? 1 : 0, plan, inForce: "", moves: [] } };
}

/**
 * A timeline. A range that begins with a, b or c is on shard 0, 1 or 2, other ranges are on all shards. Revision 1 is empty.
 * Each later revision is the next shard revision of the shard that `order` names.
 */
export class FakeTimeline {
  private readonly runs: Run[] = [];
  private readonly cuts: number[];
  compactRevision = 0;
  prunedAt = 0;
  locator: unknown;
  placement: unknown;
  private readonly listeners = new Set<() => void>();

  constructor(shards: number, hasPlan = false) {
    const all = Array.from({ length: shards }, (_, shard) => shard);
    const { locator, placement } = settled((key) => {
      const shard = "abc".indexOf(key[0]);
      return shard < 0 ? all : [shard];
    }, hasPlan);
    this.locator = locator;
    this.placement = placement;
    this.cuts = new Array<number>(shards).fill(1);
  }

  get head(): number {
    return this.runs.length + 1;
  }

  /** Changes the shards of ranges, as a plan does when it begins or ends. */
  place(shardsOf: (key: string) => readonly number[], hasPlan: boolean): void {
    const { locator, placement } = settled(shardsOf, hasPlan);
    this.locator = locator;
    this.placement = { ...placement, plans: 1 };
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
  toShardRevision = (revision: number, shard: number): number | undefined => {
    const run = this.runs[revision - 2];
    return run?.shard === shard ? run.shardRevision : undefined;
  };
  cutAt = (revision: number, shard: number): number =>
    1 + this.runs.filter((run) => run.shard === shard && run.revision <= revision).length;
  onAdvance = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
}

/** Frames that a client got: their header revisions and the revisions of their events. */
export class FakeClient implements Outlet {
  readonly blocked = false;
  readonly frames: { header: number; events: number[] }[] = [];
  readonly compactions: number[] = [];
  /** For each event, if it came with its previous key. */
  readonly previous: boolean[] = [];
  private changed: () => void = () => {};

  send(parts: readonly Uint8Array[]): void {
    const { header, events } = WatchResponse.decode(Buffer.concat(parts));
    this.previous.push(...events.map(({ prevKv }) => prevKv !== undefined));
    this.frames.push({ header: header?.revision ?? 0, events: events.map(({ kv }) => kv!.modRevision) });
    this.changed();
  }

  header(revision: number): Uint8Array {
    return encodeHeader({ clusterId: 1n, memberId: 1n, revision, raftTerm: 1 });
  }

  compacted(_watcher: Watcher, compactRevision: number): void {
    this.compactions.push(compactRevision);
    this.changed();
  }

  get events(): number[] {
    return this.frames.flatMap(({ events }) => events);
  }

  has(count: number): Promise<void> {
    return this.until(() => this.events.length >= count);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.changed = resolve;
      });
    }
  }
}

/** Returns a hub over a timeline and shards that a test controls. */
export function openHub(timeline: object, fakes: readonly FakeShard[], runtime = systemRuntime): Hub {
  return openHubOver(timeline, shardSet(fakes.map(({ shard }) => shard)), runtime);
}

/** Like `openHub`, over a set that a test changes. */
export function openHubOver(timeline: object, shards: ShardSet, runtime = systemRuntime): Hub {
  return new Hub({
    timeline: timeline as Timeline,
    shards,
    log: { info: () => {}, warn: () => {} },
    runtime,
    historyBytes: 1 << 20,
  });
}
