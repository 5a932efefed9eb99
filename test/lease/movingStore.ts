import assert from "node:assert/strict";
import { openStore, type Store } from "../../src/app/store/store.js";
import { parseConfig } from "../../src/config/load.js";
import { Leases } from "../../src/lease/leases.js";
import { EtcdMoverShard } from "../../src/mover/etcdShard.js";
import { Mover } from "../../src/mover/mover.js";
import { DEFAULT_OPTIONS } from "../../src/mover/options.js";
import { createLog } from "../../src/ops/log.js";
import type { Plan } from "../../src/reshard/placement.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { createIdentity } from "../../src/services/identity.js";
import { createKv } from "../../src/services/kv.js";
import { createLease } from "../../src/services/lease.js";
import { openShard } from "../../src/shard/client.js";
import type { ShardSet } from "../../src/shard/shardSet.js";
import type { SharedTimeline } from "../../src/timeline/timeline.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { Client } from "./support.js";

const log = createLog("silent");
const runtime = systemRuntime;

/** A rule for each prefix: "a" on the shard with the index `places[0]`, and so on. */
const rulesOf = (places: readonly number[]) =>
  places.map((shard, i) => ({ prefix: "abc"[i]!, segments: 0, shard: `shard${shard}` }));

/** Shards by index, and the places of the prefixes a, b and c. */
export interface MapOf {
  readonly shards: readonly number[];
  readonly places: readonly number[];
}

export const ALL_SHARDS: MapOf = { shards: [0, 1, 2], places: [0, 1, 2] };
/** Without the first shard, whose keys go to the others. */
export const WITHOUT_FIRST: MapOf = { shards: [1, 2], places: [1, 1, 2] };

/** A proxy in this process with the KV and Lease services, served over gRPC. */
export class MovingProxy {
  private constructor(
    readonly store: Store,
    readonly leases: Leases,
    readonly client: Client,
    private readonly ends: readonly (() => unknown)[],
  ) {}

  static async start(file: string): Promise<MovingProxy> {
    const config = parseConfig(file, "test");
    const store = await openStore(config, log);
    const { router, shards, timeline, id, gen } = store;
    const identity = createIdentity({ clusterId: id, memberId: 7n, timeline });
    const leases = new Leases({ shards, router, timeline, log, runtime });
    const { limits } = config;
    const kv = createKv({ router, timeline, shards, identity, leases, gen, limits, log });
    const lease = createLease({ leases, timeline, identity });
    const handlers = { unary: new Map([...kv.unary, ...lease.unary]), stream: lease.stream };
    const server = await serveHttp2(handlers, {
      listen: ["127.0.0.1:0"],
      maxReceiveBytes: 2 ** 21,
      highWaterBytes: 2 ** 16,
    });
    const connection = openShard({
      index: 0,
      name: "proxy",
      endpoints: [server.addresses[0]!.replace("http://", "")],
      requestTimeoutMs: 20_000,
      connectTimeoutMs: 5_000,
      log,
    });
    return new MovingProxy(store, leases, new Client(connection), [
      () => connection.close(),
      () => kv.stop?.(),
      () => leases.stop(),
      () => store.close(),
      () => server.shutdown(0),
    ]);
  }

  /** A mover in this proxy. */
  mover(prepareHomes = (plan: Plan) => this.leases.prepareHomes(plan)): Mover {
    const { timeline, shards, gen } = this.store;
    const genKey = gen.key;
    assert.ok(genKey !== undefined);
    return new Mover({
      log: timeline,
      shardOf: (index) => new EtcdMoverShard({ shard: shards.at(index), genKey, runtime, log }),
      prepareHomes,
      options: { ...DEFAULT_OPTIONS, stepKeys: 3 },
      runtime,
      logger: log,
    });
  }

  async stop(): Promise<void> {
    for (const end of this.ends) await end();
  }
}

/** Three shards, a timeline host of its own, and two proxies. */
export class MovingStore {
  private serial = 0;

  private constructor(
    readonly etcds: readonly EtcdProcess[],
    private readonly host: EtcdProcess,
    /** Each shard, called directly. */
    readonly backends: readonly Client[],
    readonly proxies: readonly MovingProxy[],
  ) {}

  static async open(): Promise<MovingStore> {
    const [etcds, host] = await Promise.all([startEtcds(3), startEtcd({ name: "host" })]);
    const file = JSON.stringify(fileOf(ALL_SHARDS, etcds, host));
    const proxies = [await MovingProxy.start(file), await MovingProxy.start(file)];
    const backends = etcds.map(({ name, endpoint }, index) => {
      const timeouts = { requestTimeoutMs: 10_000, connectTimeoutMs: 1_000 };
      return new Client(openShard({ index, name, endpoints: [endpoint], ...timeouts, log }));
    });
    return new MovingStore(etcds, host, backends, proxies);
  }

  get timeline() {
    return this.proxies[0]!.store.timeline;
  }

  /** Returns a new lease id with these homes. */
  idAt(before: MapOf, home: number, after: MapOf, next: number): Promise<bigint> {
    return this.idWhere([
      [before, home],
      [after, next],
    ]);
  }

  private async idWhere(homes: readonly (readonly [MapOf, number])[]): Promise<bigint> {
    const routers = await Promise.all(
      homes.map(async ([map, home]) => [this.timeline.locator.router(await this.text(map)), home] as const),
    );
    for (;;) {
      const id = BigInt(1_000 + this.serial++);
      if (routers.every(([router, home]) => router.homeOf(id) === home)) return id;
    }
  }

  /** Keys that no test uses yet, one for each prefix. */
  keys(): string[] {
    const n = this.serial++;
    return ["a", "b", "c"].map((prefix) => `${prefix}/${n}`);
  }

  /** Starts a plan. Shards that have left the store come back. */
  async plan(map: MapOf): Promise<void> {
    const { plans, shards: known } = this.timeline.placement;
    const shards = map.shards.map((index) => {
      const endpoints = [this.etcds[index]!.endpoint];
      return { ...known[index]!, endpoints, cut: this.timeline.cut(index) };
    });
    const change = { kind: "plan", after: plans, map: await this.text(map), shards } as const;
    assert.ok((await this.timeline.proposeChange(change)) !== undefined);
    for (const { store } of this.proxies) await store.timeline.sync();
  }

  /** The map's text. */
  async text(map: MapOf): Promise<string> {
    const file = JSON.stringify(fileOf(map, this.etcds, this.host));
    return (await fingerprint(parseConfig(file, "test").map)).text;
  }

  /** Which of the keys clients see through any proxy. */
  async present(keys: readonly string[]): Promise<string[]> {
    const found = await Promise.all(
      keys.map(async (key) => Promise.all(this.proxies.map(({ client }) => client.has(key)))),
    );
    return keys.filter((_, i) => found[i]!.includes(true));
  }

  async close(): Promise<void> {
    for (const proxy of this.proxies) await proxy.stop();
    for (const { shard } of this.backends) (shard as { close?(): void }).close?.();
    await Promise.all([...this.etcds, this.host].map((etcd) => etcd.remove()));
  }
}

function fileOf({ shards, places }: MapOf, etcds: readonly EtcdProcess[], host: EtcdProcess): object {
  return {
    listen: ["127.0.0.1:0"],
    shards: shards.map((index) => ({ name: `shard${index}`, endpoints: [etcds[index]!.endpoint] })),
    timeline: { endpoints: [host.endpoint] },
    routing: { rules: rulesOf(places) },
    limits: { connectTimeoutMs: 1_000, requestTimeoutMs: 5_000 },
  };
}

/** A timeline as a proxy sees it that has not read the newest entries. */
export class StaleView {
  isStale = true;
  /** True if also the read of the end before a write brings nothing: the entries came right after it. */
  hides = false;
  readonly timeline: SharedTimeline;
  private old: Record<PropertyKey, unknown> = {};

  constructor(private readonly now: SharedTimeline) {
    this.stop();
    this.timeline = new Proxy(now, {
      get: (target, name) => {
        if (name === "sync") return this.reading(target.sync, target);
        // Its own entry comes after the others.
        if (name === "place") return this.reading(target.place, target);
        return this.isStale && name in this.old ? this.old[name] : bound(target, name);
      },
    });
  }

  /** Reads nothing from now on, until it reads the log's end or appends to the log. */
  stop(): void {
    const { now } = this;
    const placement = { ...now.placement };
    const placements = new Map([...now.placements].map(([lease, shards]) => [lease, new Set(shards)]));
    this.old = {
      placement,
      placements,
      placementPosition: placement.position,
      beginWrite: async () => {
        if (!this.hides) this.isStale = false;
      },
    };
    this.isStale = true;
  }

  private reading<T extends unknown[]>(call: (...given: T) => Promise<void>, target: SharedTimeline) {
    return async (...given: T) => {
      await call.apply(target, given);
      this.isStale = false;
    };
  }
}

/** A property, with methods bound to their object. */
export function bound<T extends object>(target: T, name: PropertyKey): unknown {
  const value = Reflect.get(target, name, target);
  return typeof value === "function" ? value.bind(target) : value;
}

/** Shards whose calls go through `call`, which may make them with `send`. */
export function disturbed(
  shards: ShardSet,
  call: (
    path: string,
    request: Uint8Array,
    index: number,
    send: () => Promise<Uint8Array>,
  ) => Promise<Uint8Array>,
): ShardSet {
  return shards.map((shard, index) => {
    const through: typeof shard.call = (path, request, options) =>
      call(path, request, index, () => shard.call(path, request, options));
    return new Proxy(shard, {
      get: (target, name) => (name === "call" ? through : bound(target, name)),
    });
  });
}
