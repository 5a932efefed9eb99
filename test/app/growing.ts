import assert from "node:assert/strict";
import { type Proxy as Braid, startProxy } from "../../src/app/proxy.js";
import { readCluster, writeMark } from "../../src/app/store/marks.js";
import { openStore, type Store } from "../../src/app/store/store.js";
import { parseConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/types.js";
import { createLog, type Log } from "../../src/ops/log.js";
import type { PlanShard } from "../../src/reshard/change.js";
import {
  CONTROL_KEY,
  type Control,
  decodeProgress,
  decodeSeat,
  encodeControl,
  PROGRESS_KEY,
  type ProgressRecord,
  SEAT_KEY,
} from "../../src/reshard/record.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { openShard, type ShardClient } from "../../src/shard/client.js";
import {
  type KeyValue,
  LeaseRevokeRequest,
  PutRequest,
  RangeRequest,
  RangeResponse,
} from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { until } from "../support/until.js";

type Settings = Readonly<Record<string, unknown>>;

/** A proxy in this process, with the lines that it has logged. */
export interface LoggedProxy {
  readonly braid: Braid;
  readonly address: string;
  readonly lines: string[];
}

/**
 * A store whose shards are the first etcds, and to which plans add the others. An operator's connection records the plans. The
 * store's proxies carry them out.
 */
export class Growing {
  private readonly prepared = new Map<number, PlanShard>();
  private readonly clusters: ShardClient[];
  private readonly proxies: LoggedProxy[] = [];

  private constructor(
    readonly etcds: readonly EtcdProcess[],
    private readonly first: number,
    /** Further settings of proxies, as in the file. */
    readonly settings: Settings,
    readonly operator: Store,
  ) {
    const timeouts = { requestTimeoutMs: 20_000, connectTimeoutMs: 5_000, log: createLog("silent") };
    this.clusters = etcds.map(({ endpoint }, index) =>
      openShard({ index, name: `shard${index}`, endpoints: [endpoint], ...timeouts }),
    );
  }

  /** Makes a store over the first `first` etcds. */
  static async open(etcds: readonly EtcdProcess[], first: number, settings: Settings = {}): Promise<Growing> {
    const config = configOver(etcds.slice(0, first), settings);
    const operator = await openStore(config, createLog("silent"));
    return new Growing(etcds, first, settings, operator);
  }

  get timeline() {
    return this.operator.timeline;
  }

  /** Starts a proxy whose file lists the first shards. It can leave moving keys to others. */
  async proxy(isCandidate = true): Promise<LoggedProxy> {
    const lines: string[] = [];
    const braid = await startProxy(
      configOver(this.etcds.slice(0, this.first), this.settings),
      loggingTo(lines),
      undefined,
      isCandidate
        ? undefined
        : { isFirst: false, share: (own) => () => own.text(), tellStored: () => {}, onStored: () => {} },
    );
    const proxy = { braid, address: braid.addresses[0]!, lines };
    this.proxies.push(proxy);
    return proxy;
  }

  /** Records a plan whose map has exactly the shards with these indices, and these rules. Resolves to its number. */
  async plan(indices: readonly number[], routing?: object): Promise<number> {
    const config = configOver(this.etcds, { ...this.settings, ...(routing && { routing }) });
    const shards = config.map.shards.filter((_, index) => indices.includes(index));
    const { text } = await fingerprint({ ...config.map, shards });
    const known = this.timeline.placement.shards.length;
    const added: PlanShard[] = [];
    for (const index of indices) if (index >= known) added.push(await this.prepare(index));
    const after = this.timeline.placement.plans;
    const position = await this.timeline.proposeChange({ kind: "plan", after, map: text, shards: added });
    assert.ok(position !== undefined, "the plan is valid");
    return after + 1;
  }

  /** Reverses the active plan. Resolves to its new number. */
  async turnBack(): Promise<number> {
    for (;;) {
      const { number } = this.timeline.placement.plan!;
      // Not valid while a step is frozen.
      const position = await this.timeline.proposeChange({ kind: "turn back", plan: number });
      if (position !== undefined) return number + 1;
    }
  }

  async done(number: number): Promise<void> {
    const { timeline } = this;
    await until(
      `plan ${number} is done`,
      () => timeline.placement.plans >= number && timeline.placement.plan === undefined,
    );
  }

  /** Writes the control, by default of the newest plan. */
  async control(control: Partial<Control>): Promise<void> {
    const value = encodeControl({
      plan: this.timeline.placement.plans,
      paused: false,
      maxKeysPerSecond: null,
      keys: null,
      bytes: null,
      ...control,
    });
    await this.operator.host.call(KV.Put, PutRequest.encode({ key: CONTROL_KEY, value }), {
      idempotent: true,
    });
  }

  async progress(): Promise<ProgressRecord | undefined> {
    const { record, problem } = decodeProgress((await this.read(PROGRESS_KEY))?.value);
    assert.equal(problem, undefined);
    return record;
  }

  /** The proxy that has the seat. */
  async mover(): Promise<string | undefined> {
    return decodeSeat((await this.read(SEAT_KEY))?.value).record?.proxy;
  }

  /** Ends the lease of the mover's seat, as a host does that has not heard from the mover for the TTL. */
  async endSeat(): Promise<void> {
    const { lease } = (await this.read(SEAT_KEY))!;
    await this.operator.host.call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: lease }), {
      idempotent: true,
    });
  }

  /** Clients' keys on a shard. */
  async keysOn(index: number): Promise<string[]> {
    const request = RangeRequest.encode({ key: Buffer.of(1), rangeEnd: Buffer.of(0), keysOnly: true });
    const cluster = this.operator.shards.find(index) ?? this.clusters[index]!;
    const answer = await cluster.call(KV.Range, request, { idempotent: true });
    return RangeResponse.decode(answer).kvs.map(({ key }) => Buffer.from(key).toString());
  }

  /** Fails if a shard has a client's key that another one holds. Resolves to the number of keys on each shard. */
  async checkPlaces(): Promise<number[]> {
    const counts: number[] = [];
    for (const index of this.etcds.keys()) {
      const keys = await this.keysOn(index);
      const wrong = keys.filter((key) => this.timeline.locator.shardOf(Buffer.from(key)) !== index);
      assert.deepEqual(wrong, [], `keys of others on shard ${index}`);
      counts.push(keys.length);
    }
    return counts;
  }

  /** Stops its proxies, too. */
  async close(): Promise<void> {
    await Promise.all(this.proxies.map(({ braid }) => braid.stop()));
    for (const cluster of this.clusters) cluster.close();
    this.operator.close();
  }

  private async read(key: Uint8Array): Promise<KeyValue | undefined> {
    const answer = await this.operator.host.call(KV.Range, RangeRequest.encode({ key }), {
      idempotent: true,
    });
    return RangeResponse.decode(answer).kvs[0];
  }

  /** Marks an etcd as the store's shard with this index. Resolves to what a plan says of it. */
  async prepare(index: number): Promise<PlanShard> {
    const known = this.prepared.get(index);
    if (known !== undefined) return known;
    const { operator } = this;
    const { hostShard } = operator.timeline;
    const cluster = this.clusters[index]!;
    const host = {
      name: hostShard < 0 ? "timeline host" : `shard${hostShard}`,
      clusterId: (await readCluster(operator.host)).clusterId,
    };
    const store = operator.id.toString(16).padStart(16, "0");
    assert.ok(await writeMark(cluster, await readCluster(cluster), store, host, false));
    const { revision, clusterId } = await readCluster(cluster);
    const { endpoint } = this.etcds[index]!;
    const shard = { index, name: `shard${index}`, endpoints: [endpoint], clusterId, cut: revision };
    this.prepared.set(index, shard);
    return shard;
  }
}

/** A store of two shards and one more etcd. The timeline host is the first shard, or a cluster of its own. */
export async function withStore(
  timeline: "shard" | "dedicated",
  body: (store: Growing, etcds: readonly EtcdProcess[], host: EtcdProcess) => Promise<void>,
): Promise<void> {
  const hosts = timeline === "dedicated" ? [await startEtcd()] : [];
  const etcds = await startEtcds(3);
  const settings = hosts.map(({ endpoint }) => ({ timeline: { endpoints: [endpoint] } }))[0];
  const store = await Growing.open(etcds, 2, settings);
  try {
    await body(store, etcds, hosts[0] ?? etcds[0]!);
  } finally {
    await store.close();
    await Promise.all([...etcds, ...hosts].map((etcd) => etcd.remove()));
  }
}

function configOver(etcds: readonly EtcdProcess[], settings: Settings): Config {
  const shards = etcds.map(({ endpoint }, i) => ({ name: `shard${i}`, endpoints: [endpoint] }));
  const file = { listen: ["127.0.0.1:0"], limits: { connectTimeoutMs: 1_000 }, shards, ...settings };
  return parseConfig(JSON.stringify(file), "test");
}

/** A silent log whose lines go to `lines`. The proxy sets its level, which replaces the methods of a log. */
function loggingTo(lines: string[]): Log {
  return new Proxy(createLog("silent"), {
    get: (log, name, receiver) => {
      if (name !== "info" && name !== "warn" && name !== "error") return Reflect.get(log, name, receiver);
      return (fields: object, message: string) => lines.push(`${name} ${message} ${JSON.stringify(fields)}`);
    },
  });
}
