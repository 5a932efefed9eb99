import { Leases } from "../../src/lease/leases.js";
import type { ServerStream } from "../../src/rpc/call.js";
import { createIdentity } from "../../src/services/identity.js";
import { createWatch, type WatchService } from "../../src/services/watch.js";
import { type GuardedShard, guardShard } from "../../src/shard/guard.js";
import { Code, StatusError } from "../../src/status/error.js";
import { pruneTable } from "../../src/timeline/pruneTable.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import type { TimelineLog } from "../../src/timeline/timelineLog.js";
import { CompactionRequest, PutRequest } from "../../src/wire/messages.js";
import { KV, Watch } from "../../src/wire/paths.js";
import { peekRevision } from "../../src/wire/rewrite.js";
import { mapText, newMaps, noOtherHost } from "../support/maps.js";
import { shardSet } from "../support/shardSet.js";
import { Network, simHost } from "../timeline/sim/network.js";
import { simRuntime } from "../timeline/sim/runtime.js";
import { ShortEpochLog } from "../timeline/sim/world.js";
import { SimLink } from "./link.js";
import { ProcessClock } from "./process.js";
import type { World } from "./world.js";

/** Small, so that most watchers that start in the past or fall behind need a replay or the history. */
const LIMITS = { historyBytes: 6_000, streamBufferBytes: 400, progressNotifyMs: 1_000 };

/** One run of a proxy: the real timeline, guards, leases and watches over simulated connections. */
export class SimProxy {
  readonly clock: ProcessClock;
  readonly links: readonly SimLink[];
  readonly timeline: SharedTimeline;
  readonly guards: readonly GuardedShard[];
  private readonly network: Network;
  /** Errors of shards that the watches have logged. */
  readonly reported: string[] = [];
  private services: { readonly leases: Leases; readonly watch: WatchService } | undefined;
  /** Open client streams. */
  private readonly streams = new Set<{ lost(): void }>();
  private compared = 1;

  constructor(
    private readonly world: World,
    readonly name: string,
  ) {
    const { scheduler, random, shards, scenario } = world;
    this.clock = new ProcessClock(scheduler);
    this.network = new Network(this.clock, random, scenario.hostFaults);
    const runtime = simRuntime(this.clock, random, () => true);
    const map = mapText(shards.length);
    const maps = newMaps();
    maps.adopt(map, world.router);
    class Timeline extends SharedTimeline {
      protected override createLog(...args: ConstructorParameters<typeof TimelineLog>): TimelineLog {
        return new ShortEpochLog(...args);
      }
    }
    this.timeline = new Timeline(
      shards.length,
      {
        host: simHost(this.network, world.host),
        hostShard: scenario.host,
        hostOf: noOtherHost,
        proxy: name,
        map,
        maps,
        runtime,
        genesis: async () => ({
          revisions: shards.map(({ store }) => store.revision),
          clusterIds: shards.map(({ clusterId }) => clusterId.toString()),
        }),
        accept: () => {},
      },
      (error) => world.fail(error),
    );
    this.timeline.onAdvance(() => this.compare());
    this.links = shards.map(
      (shard) =>
        new SimLink(
          this.clock,
          random,
          shard,
          scenario.faults,
          () => world.wrote(this, shard),
          (ms) => world.disturbed(ms),
        ),
    );
    this.guards = this.links.map((link, index) =>
      guardShard(
        link,
        () => this.timeline.cut(index),
        () => this.timeline.log.base.clusterIds[index],
        runtime,
      ),
    );
    this.start(runtime);
  }

  get isReady(): boolean {
    return this.services !== undefined && this.clock.isAlive;
  }

  get leases(): Leases {
    if (this.services === undefined) throw unready();
    return this.services.leases;
  }

  /** Opens a watch stream for a client. */
  watch(stream: ServerStream & { lost(): void }): void {
    if (!this.isReady || this.services === undefined) throw unready();
    this.streams.add(stream);
    this.services.watch.stream.get(Watch.Watch)?.(stream);
  }

  forget(stream: { lost(): void }): void {
    this.streams.delete(stream);
  }

  /** Dies at once. Its clients notice. */
  crash(): void {
    this.clock.isAlive = false;
    this.network.alive = false;
    this.end();
  }

  /** Stops as on SIGTERM, after its clients' streams have ended. */
  stop(): void {
    this.end();
    this.services?.watch.stop?.();
    this.services?.leases.stop();
    this.timeline.close();
    this.clock.isAlive = false;
    this.network.alive = false;
  }

  /** Puts a key in the same steps as the KV service. Resolves to the revision. */
  async put(key: string, value: string, lease = 0n): Promise<number> {
    const { leases } = this;
    const shard = this.world.shardOf(key);
    await new Promise<void>((resolve, reject) => {
      this.timeline.whenWritable((error) => (error === undefined ? resolve() : reject(error)));
    });
    if (lease !== 0n && !leases.isPlaced(lease, shard)) await leases.ensurePlaced(lease, shard);
    const request = PutRequest.encode({ key: Buffer.from(key), value: Buffer.from(value), lease });
    const send = () => this.guards[shard]!.call(KV.Put, request, { idempotent: false });
    let response: Uint8Array;
    try {
      response = await send();
    } catch (reason) {
      const { code } = StatusError.from(reason);
      if (code !== Code.NOT_FOUND || leases === undefined || this.world.homeOf(lease) === shard) throw reason;
      await leases.repair(lease, shard);
      response = await send();
    }
    const shardRevision = peekRevision(response);
    await this.timeline.seal(shard, shardRevision, true);
    return this.timeline.toRevision(shard, shardRevision);
  }

  /** Compacts the store at `revision` and then each shard, as the KV service does. */
  async compact(revision: number): Promise<void> {
    if (revision <= this.timeline.compactRevision || revision > this.timeline.head) return;
    await this.timeline.compact(revision);
    await Promise.allSettled(
      this.guards.map((guard, shard) => {
        const request = CompactionRequest.encode({ revision: this.timeline.lastAt(revision, shard) });
        return guard.call(KV.Compact, request, { idempotent: false });
      }),
    );
  }

  /** Prunes the timeline up to its newest compaction, as the pruner does. */
  async prune(): Promise<void> {
    const { timeline, world } = this;
    const at = timeline.compactRevision;
    if (at === 0 || at <= timeline.log.base.prunedAt) return;
    const live = world.shards.map(({ store, index }) => {
      const found = store.list("", timeline.lastAt(at, index)).filter(({ key }) => !key.startsWith("\0"));
      const revisions = new Set(found.flatMap((each) => [each.createRevision, each.modRevision]));
      return [...revisions].sort((a, b) => a - b);
    });
    await timeline.log.writeBase({
      pruned: { table: pruneTable(timeline.log.fold.snapshot().table, at, live), at },
    });
  }

  /** True while it watches the shards for clients. */
  get isWatching(): boolean {
    const status = this.services?.watch.hub.status;
    return status !== undefined && status.synced + status.lagging + status.replaying > 0;
  }

  /** Reports every revision that this proxy knows to the world. */
  compare(): void {
    try {
      for (; this.compared < this.timeline.head; this.compared++) {
        const run = this.timeline.log.fold.snapshot().table.runAt(this.compared + 1);
        if (run !== undefined) this.world.see(run.revision, run.shard, run.shardRevision);
      }
    } catch (error) {
      this.world.fail(error);
    }
  }

  private end(): void {
    for (const stream of [...this.streams]) stream.lost();
    for (const link of this.links) link.close();
  }

  private start(runtime: ReturnType<typeof simRuntime>): void {
    const { timeline, world } = this;
    const guards = shardSet(this.guards);
    timeline.open().then(
      () => {
        const identity = createIdentity({ clusterId: 1n, memberId: 1n, timeline });
        const { router } = world;
        world.joined();
        const log = {
          info() {},
          warn: (fields: object) => void this.reported.push("error" in fields ? String(fields.error) : ""),
        };
        this.services = {
          leases: new Leases({ shards: guards, router, timeline, log, runtime }),
          watch: createWatch({
            timeline,
            shards: guards,
            identity,
            limits: LIMITS,
            log,
            runtime,
          }),
        };
        this.compare();
      },
      (error: unknown) => {
        if (!(error instanceof StatusError)) this.world.fail(error);
        this.clock.after(30, () => this.start(runtime));
      },
    );
  }
}

const unready = () => new StatusError(Code.UNAVAILABLE, "simulated: the proxy is not there");
