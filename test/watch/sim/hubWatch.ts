import assert from "node:assert/strict";
import { ShardSet } from "../../../src/shard/shardSet.js";
import type { Timeline } from "../../../src/timeline/view.js";
import { Hub } from "../../../src/watch/hub.js";
import { textRange } from "../../../src/watch/keys.js";
import { type Outlet, Watcher } from "../../../src/watch/watcher.js";
import { type KeyValue, WatchResponse } from "../../../src/wire/messages.js";
import { encodeHeader } from "../../../src/wire/rewrite.js";
import type { SimProxy } from "../../reshard/sim/proxy.js";
import { rangeOf, type Seen, type WatchRecord } from "../../reshard/sim/world.js";
import { simRuntime } from "../../timeline/sim/runtime.js";
import { ShardLink } from "./shardLink.js";

/** So small that many watchers need replays. */
const HISTORY_BYTES = 4_000;

const hubs = new WeakMap<SimProxy, Hub>();

/** The proxy's real hub, in virtual time. */
export function hubOf(proxy: SimProxy): Hub {
  let hub = hubs.get(proxy);
  if (hub === undefined) {
    hub = openHub(proxy);
    hubs.set(proxy, hub);
  }
  return hub;
}

function openHub(proxy: SimProxy): Hub {
  const { world, network } = proxy;
  const clock = {
    get now() {
      return world.scheduler.now;
    },
    after(ms: number, fn: () => void) {
      let cancelled = false;
      void network.sleep(Math.ceil(Math.max(0, ms))).then(() => {
        if (!cancelled) world.guard(fn);
      });
      return () => {
        cancelled = true;
      };
    },
  };
  return new Hub({
    timeline: timelineOf(proxy),
    shards: ShardSet.of(world.shards.map((_, index) => new ShardLink(proxy, index))),
    log: { info() {}, warn() {} },
    runtime: simRuntime(clock, world.random, () => network.alive),
    historyBytes: HISTORY_BYTES,
  });

  function timelineOf({ log }: SimProxy): Timeline {
    return {
      get fold() {
        return log.fold;
      },
      get head() {
        return log.fold.head;
      },
      get compactRevision() {
        return log.fold.compactRevision;
      },
      get placement() {
        return log.fold.placement.snapshot();
      },
      get locator() {
        return proxy.locator;
      },
      prunedAt: 0,
      cut: (shard: number) => log.fold.cut(shard),
      cutAt: (revision: number, shard: number) => log.fold.cutAt(revision, shard),
      runAt: (revision: number) => log.fold.runAt(revision),
      toRevision: (shard: number, at: number) => log.fold.toRevision(shard, at),
      toShardRevision: (revision: number, shard: number) => log.fold.toShardRevision(revision, shard),
      versionOffset: (shard: number, life: number) => log.fold.versionOffset(shard, life),
      isSealed: (shard: number, at: number) => at <= log.fold.cut(shard),
      seal: (shard: number, at: number) => log.seal(shard, at),
      onAdvance: (listener: () => void) => log.onAdvance(() => world.guard(listener)),
    } as unknown as Timeline;
  }
}

/** A client's watch through the real hub. The client resumes on another proxy when this one dies. */
export class HubWatch implements Outlet {
  blocked = false;
  private readonly hub: Hub;
  private readonly isAlone: boolean;
  private readonly watcher: Watcher;
  private lost: number | undefined;
  private ended: () => void = () => {};
  private fragments: WatchResponse[] = [];

  constructor(
    private readonly proxy: SimProxy,
    private readonly record: WatchRecord,
  ) {
    const { from, to } = record;
    const { random } = proxy.world;
    // Some watches are the first of a hub, so that it starts while keys move.
    this.isAlone = random.chance(0.4);
    this.hub = this.isAlone ? openHub(proxy) : hubOf(proxy);
    const range = rangeOf(from, to);
    this.watcher = new Watcher(this, {
      id: 0,
      range: textRange(range.key, range.end),
      next: record.progress + 1,
      prevKv: record.prevKv === true,
      compacted: proxy.log.fold.compactRevision,
      fragment: random.chance(0.5),
      noPut: false,
      noDelete: false,
    });
  }

  /** Serves the client until a compaction cancels the watch. */
  async run(): Promise<void> {
    const { proxy, record, hub, watcher } = this;
    const { world, network } = proxy;
    const end = new Promise<void>((resolve) => {
      this.ended = resolve;
    });
    const { compactRevision } = proxy.log.fold;
    if (watcher.next < compactRevision) hub.refuse(watcher, compactRevision);
    else hub.attach(watcher);
    world.spawn(this.follow());
    await end;
    if (this.isAlone) hub.close();
    const first = this.lost ?? 0;
    world.compacted = Math.max(world.compacted, proxy.log.fold.compactRevision);
    assert.ok(first > record.progress + 1, `a watch from ${record.progress + 1} was refused up to ${first}`);
    assert.ok(
      first <= world.compacted,
      `a watch was refused up to ${first}, compacted is ${world.compacted}`,
    );
    record.gaps.push({ from: record.progress + 1, to: first - 1 });
    record.progress = first - 1;
    await network.sleep(1);
  }

  private async follow(): Promise<void> {
    const { proxy, record, hub, watcher } = this;
    const { random } = proxy.world;
    while (this.lost === undefined && proxy.network.alive) {
      await proxy.network.sleep(1 + random.below(40));
      if (this.lost !== undefined) return;
      if (this.fragments.length === 0) record.progress = Math.max(record.progress, hub.watermark(watcher));
      if (this.blocked) {
        this.blocked = random.chance(0.5);
        if (!this.blocked) hub.unblocked(watcher);
      } else this.blocked = record.slow === true && random.chance(0.3);
    }
  }

  send(parts: readonly Uint8Array[]): void {
    const { record, proxy } = this;
    proxy.world.guard(() => {
      const frame = WatchResponse.decode(Buffer.concat(parts));
      this.fragments.push(frame);
      if (frame.fragment) return;
      const events = this.fragments.flatMap((each) => each.events);
      this.fragments = [];
      for (const { type, kv, prevKv } of events) {
        assert.ok(kv !== undefined);
        const revision = kv.modRevision;
        assert.ok(revision > record.progress, `an event of ${revision} after ${record.progress}`);
        const key = Buffer.from(kv.key).toString("latin1");
        const item = type === 1 ? undefined : seenOf(kv);
        record.events.push({ revision, key, item, before: prevKv && seenOf(prevKv) });
      }
      const covered = frame.header?.revision ?? 0;
      assert.ok(covered >= (events.at(-1)?.kv?.modRevision ?? 0), "an event above the header's revision");
      record.progress = Math.max(record.progress, covered);
    });
  }

  header(revision: number): Uint8Array {
    return encodeHeader({ clusterId: 1n, memberId: 1n, revision, raftTerm: 1 });
  }

  compacted(_watcher: Watcher, compactRevision: number): void {
    this.lost = compactRevision;
    this.ended();
  }
}

const seenOf = (kv: KeyValue): Seen => ({
  key: Buffer.from(kv.key).toString("latin1"),
  value: Buffer.from(kv.value).toString(),
  create: kv.createRevision,
  mod: kv.modRevision,
  version: kv.version,
  lease: Number(kv.lease),
});
