import { Closers } from "../../src/app/closers.js";
import { type Proxy as Braid, serveStore } from "../../src/app/proxy.js";
import { Settings } from "../../src/app/settings.js";
import { readCluster, writeMark } from "../../src/app/store/marks.js";
import { openStore, type Store } from "../../src/app/store/store.js";
import { parseConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/types.js";
import { createLog } from "../../src/ops/log.js";
import type { Metrics } from "../../src/ops/prometheus.js";
import { START } from "../../src/reshard/bound.js";
import type { Change, PlanShard } from "../../src/reshard/change.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { openShard } from "../../src/shard/client.js";
import type { EtcdProcess } from "../support/etcd.js";
import { EtcdClient } from "../watch/support.js";

const log = createLog("silent");
const INDEX = 2;
const NAME = "shard2";
/** The keys that begin with "a" are on the first shard, and so on. */
const ruleFor = (index: number) => ({ prefix: "abcd"[index], segments: 0, shard: `shard${index}` });

/** The configuration of a proxy over shards at these endpoints, named shard0, shard1, …. */
export function configOver(endpoints: readonly string[], more: object = {}): Config {
  const shards = endpoints.map((endpoint, i) => ({ name: `shard${i}`, endpoints: [endpoint] }));
  const rules = shards.map((_, i) => ruleFor(i));
  const limits = { connectTimeoutMs: 1_000 };
  const common = { listen: ["127.0.0.1:0"], log: { level: "error" }, limits };
  const file = { ...common, shards, routing: { rules }, ...more };
  return parseConfig(JSON.stringify(file), "test");
}

/** A proxy in this process over a store of two shards that a third one can join. */
export class Joining {
  private constructor(
    readonly config: Config,
    readonly store: Store,
    readonly proxy: Braid,
    readonly client: EtcdClient,
  ) {}

  /** `more` are further settings, as in the file. */
  static async open(endpoints: readonly string[], more: object = {}): Promise<Joining> {
    const config = configOver(endpoints, more);
    const store = await openStore(config, log, AbortSignal.abort());
    const closers = new Closers();
    const settings = new Settings(config);
    // Another worker would carry out plans, so that this one leaves it to the test.
    const siblings = {
      isFirst: false,
      share: (own: Metrics) => () => own.text(),
      tellStored: () => {},
      onStored: () => {},
    };
    const proxy = await serveStore(store, settings, log, closers, { connectionHandles: 100, siblings });
    return new Joining(config, store, proxy, new EtcdClient(proxy.addresses[0]));
  }

  /** Marks an empty cluster for the store, as its third shard. Resolves to what a plan says of it. */
  async prepare(
    etcd: EtcdProcess,
    { endpoint = etcd.endpoint, markedAs = NAME }: { endpoint?: string; markedAs?: string } = {},
  ): Promise<PlanShard> {
    const { store } = this;
    const timeouts = { requestTimeoutMs: 10_000, connectTimeoutMs: 2_000 };
    const cluster = openShard({ index: INDEX, name: markedAs, endpoints: [etcd.endpoint], ...timeouts, log });
    try {
      const reading = await readCluster(cluster);
      const host = { name: "shard0", clusterId: store.timeline.log.base.clusterIds[0]! };
      await writeMark(cluster, reading, store.id.toString(16).padStart(16, "0"), host, false);
      const { revision, clusterId } = await readCluster(cluster);
      return { index: INDEX, name: NAME, endpoints: [endpoint], clusterId, cut: revision };
    } finally {
      cluster.close();
    }
  }

  /** Logs a plan that adds the shard. No key moves yet. */
  async plan(shard: PlanShard): Promise<void> {
    const { map } = this.config;
    const rules = [...map.rules, { ...map.rules[0]!, prefix: Buffer.from("c"), shard: NAME }];
    const shards = [...map.shards, { name: NAME, weight: 1 }];
    const { text } = await fingerprint({ shards, rules });
    await this.change({ kind: "plan", after: 0, map: text, shards: [shard] });
  }

  /** Carries out the plan. The keys that move must not exist. */
  async move(): Promise<void> {
    const { timeline } = this.store;
    const mover = await this.change({ kind: "claim" });
    const freeze = await this.change({ kind: "freeze", mover, plan: 1, cursor: START, to: null });
    const twins = { shardRevisions: [], revisions: [] };
    const offsets = { lives: [], offsets: [] };
    await this.change({
      kind: "move",
      mover,
      freeze,
      sources: [0, 1].map((shard) => ({ shard, stop: timeline.cut(shard) })),
      destinations: [{ shard: INDEX, ready: timeline.cut(INDEX), twins, offsets }],
      ended: [],
    });
    await this.change({ kind: "done", plan: 1 });
  }

  /** Adds the shard, and gives it its keys: those that begin with "c", and others. */
  async join(shard: PlanShard): Promise<void> {
    await this.plan(shard);
    await this.move();
  }

  /** Logs a change. Resolves to its position. */
  async change(change: Change): Promise<number> {
    const position = await this.store.timeline.proposeChange(change);
    if (position === undefined) throw new Error(`the ${change.kind} is not valid`);
    return position;
  }

  /** Opens the store once more, as another proxy does. Resolves to it, and to the warnings that it has logged. */
  async reopen(config = this.config): Promise<Store & { readonly warnings: readonly string[] }> {
    const warnings: string[] = [];
    const warn = (fields: object, text: string) => {
      warnings.push(`${"map" in fields ? fields.map : ""} ${text}`);
    };
    const store = await openStore(config, Object.assign(createLog("silent"), { warn }), AbortSignal.abort());
    return { ...store, warnings };
  }

  async close(): Promise<void> {
    this.client.close();
    await this.proxy.stop();
  }
}
