import { EtcdMoverShard } from "../../src/mover/etcdShard.js";
import type { MoverLog } from "../../src/mover/log.js";
import { Mover } from "../../src/mover/mover.js";
import { DEFAULT_OPTIONS, type MoverOptions } from "../../src/mover/options.js";
import type { MoverShard } from "../../src/mover/shard.js";
import type { Change } from "../../src/reshard/change.js";
import { genDigits, genLimit } from "../../src/reshard/gen.js";
import { Locator } from "../../src/reshard/locator.js";
import { Maps } from "../../src/reshard/maps.js";
import { firstPlacement } from "../../src/reshard/placement.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { Hasher } from "../../src/routing/hash.js";
import type { ShardMap } from "../../src/routing/map.js";
import type { ShardClient } from "../../src/shard/client.js";
import type { LeaseOp } from "../../src/timeline/entry.js";
import { Fold } from "../../src/timeline/fold.js";
import { markKey } from "../../src/timeline/keys.js";
import { StoreFold } from "../../src/timeline/storeFold.js";
import type { Seals } from "../../src/timeline/view.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import {
  CompareResult,
  CompareTarget,
  type KeyValue,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { type LogLine, recordingLog, shardOf } from "../shard/support.js";
import type { EtcdProcess } from "../support/etcd.js";

export const GEN_KEY = markKey("00000000000000aa");
export const bytes = (text: string): Uint8Array => Buffer.from(text);
export const text = (each: Uint8Array): string => Buffer.from(each).toString();

/** Opens an etcd as a shard with this index. The caller closes it. */
export const openShard = (etcd: EtcdProcess, index = 0): ShardClient =>
  shardOf([etcd.endpoint], { index, name: `s${index}`, connectTimeoutMs: 2_000 });

export async function put(
  shard: ShardClient,
  key: Uint8Array | string,
  value: string,
  lease = 0n,
): Promise<number> {
  const request = PutRequest.encode({ key: Buffer.from(key), value: bytes(value), lease });
  const { header } = PutResponse.decode(await shard.call(KV.Put, request, { idempotent: false }));
  return header!.revision;
}

export async function list(shard: ShardClient, revision = 0): Promise<KeyValue[]> {
  const request = RangeRequest.encode({ key: bytes("\x01"), rangeEnd: bytes("\0"), revision });
  return RangeResponse.decode(await shard.call(KV.Range, request, { idempotent: true })).kvs;
}

export const moverShard = (shard: ShardClient): EtcdMoverShard =>
  new EtcdMoverShard({ shard, genKey: GEN_KEY, runtime: systemRuntime, log: recordingLog() });

/** Gives a shard a mark with gen 0. Resolves to the shard revision of that write. */
export const writeGen = (shard: ShardClient): Promise<number> => put(shard, GEN_KEY, `${genDigits(0)} {}`);

/** A timeline log in memory, on a host that is not a shard. */
export class MemoryLog implements MoverLog {
  readonly fold: StoreFold;
  readonly locator: Locator;
  position = 0;
  private readonly thawed = new Set<() => void>();

  private constructor(
    map: string,
    cut: readonly number[],
    readonly maps: Maps,
  ) {
    const fold = Fold.genesis(cut.length, -1);
    for (const [shard, reached] of cut.entries()) fold.begin(shard, reached, []);
    const shards = cut.map((each, index) => ({
      index,
      name: `s${index}`,
      endpoints: [],
      clusterId: String(index),
      cut: each,
    }));
    this.fold = StoreFold.of(-1, {
      timeline: fold.snapshot(),
      placement: firstPlacement(map, shards),
      positionOffset: 0,
    });
    this.locator = new Locator(this.fold.placement, maps, this.fold);
  }

  /** `cut`: the shard revision up to which each shard's writes have revisions from the start. */
  static async open(map: ShardMap, cut: readonly number[]): Promise<MemoryLog> {
    return new MemoryLog((await fingerprint(map)).text, cut, new Maps(await Hasher.load()));
  }

  get placement() {
    return this.fold.placement.snapshot();
  }

  get placements() {
    return this.fold.placements;
  }

  async proposeChange(change: Change, seals: Seals = new Map()): Promise<number | undefined> {
    const { position } = this.apply(seals, [], change);
    for (const wake of this.thawed) wake();
    return position > 0 ? position : undefined;
  }

  /** Starts a plan. */
  async plan(map: ShardMap): Promise<void> {
    const { text: name } = await fingerprint(map);
    const { plans } = this.placement;
    await this.proposeChange({ kind: "plan", after: plans, map: name, shards: [] });
  }

  async sync(): Promise<void> {}

  async seal(shard: number, shardRevision: number): Promise<void> {
    if (this.fold.cut(shard) < shardRevision) this.apply(new Map([[shard, shardRevision]]));
  }

  toRevision(shard: number, shardRevision: number): number {
    return this.fold.toRevision(shard, shardRevision);
  }

  versionOffset(shard: number, life: number): number {
    return this.fold.versionOffset(shard, life);
  }

  async place(lease: bigint, shard: number): Promise<void> {
    this.apply(new Map(), [{ kind: "place", lease, shard }]);
  }

  /** Resolves when no step is frozen. */
  async whenThawed(): Promise<void> {
    while (this.placement.plan?.frozen !== undefined) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.thawed.delete(wake);
          resolve();
        };
        this.thawed.add(wake);
      });
    }
  }

  private apply(reached: ReadonlyMap<number, number>, leases: readonly LeaseOp[] = [], change?: Change) {
    const entry = { reached, compact: 0, leases, raftTerm: 0, ...(change !== undefined && { change }) };
    return this.fold.apply(entry, ++this.position);
  }
}

/** A key as clients see it. */
export interface Seen {
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
  readonly lease: bigint;
}

/** Real etcds as the shards s0, s1, … of a store, with a log in memory. */
export class Store {
  private constructor(
    readonly log: MemoryLog,
    readonly shards: readonly ShardClient[],
  ) {}

  /** Opens a store with the first map over etcds. `fill` writes keys before it begins. */
  static async open(
    map: ShardMap,
    etcds: readonly EtcdProcess[],
    fill: (shards: readonly ShardClient[]) => Promise<void> = async () => {},
  ): Promise<Store> {
    const shards = etcds.map(openShard);
    for (const shard of shards) await writeGen(shard);
    await fill(shards);
    const cut = await Promise.all(shards.map((shard) => moverShard(shard).revision()));
    return new Store(await MemoryLog.open(map, cut), shards);
  }

  /** `wrap` puts something between the mover and its shards. */
  mover(
    options: Partial<MoverOptions> = {},
    lines: LogLine[] = [],
    runtime = systemRuntime,
    wrap: (shard: MoverShard, index: number) => MoverShard = (shard) => shard,
  ): Mover {
    const shards: readonly MoverShard[] = this.shards.map((shard, index) => wrap(moverShard(shard), index));
    return new Mover({
      log: this.log,
      shardOf: (index) => shards[index],
      prepareHomes: async () => {},
      options: { ...DEFAULT_OPTIONS, ...options },
      runtime,
      logger: recordingLog(lines),
    });
  }

  /** A client's put: it waits while a step is frozen, and compares gen. Resolves to its revision. */
  async put(key: string, value: string): Promise<number> {
    const { log } = this;
    for (;;) {
      await log.whenThawed();
      const index = log.locator.shardOf(bytes(key));
      const value_ = bytes(genLimit(log.position));
      const request = TxnRequest.encode({
        compare: [{ target: CompareTarget.VALUE, result: CompareResult.LESS, key: GEN_KEY, value: value_ }],
        success: [{ kind: "put", request: { key: bytes(key), value: bytes(value) } }],
      });
      const response = await this.shards[index].call(KV.Txn, request, { idempotent: false });
      const { header, succeeded } = TxnResponse.decode(response);
      if (!succeeded) continue;
      await log.seal(index, header!.revision);
      return log.toRevision(index, header!.revision);
    }
  }

  /** All keys of the store as clients see them. Fails for a key on a shard that does not hold it. */
  async seen(): Promise<Map<string, Seen>> {
    const found = new Map<string, Seen>();
    for (const [index, shard] of this.shards.entries()) {
      await this.log.seal(index, await moverShard(shard).revision());
      for (const kv of await list(shard)) {
        if (this.log.locator.shardOf(kv.key) !== index)
          throw new Error(`${text(kv.key)} is on shard ${index}, which does not hold it`);
        found.set(text(kv.key), {
          value: text(kv.value),
          create: this.log.toRevision(index, kv.createRevision),
          mod: this.log.toRevision(index, kv.modRevision),
          version: kv.version + this.log.versionOffset(index, kv.createRevision),
          lease: kv.lease,
        });
      }
    }
    return found;
  }

  close(): void {
    for (const shard of this.shards) shard.close();
  }
}
