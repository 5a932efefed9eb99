import type { StepDeps, Target } from "../../../src/mover/copying.js";
import type { MoverLog } from "../../../src/mover/log.js";
import { Mover } from "../../../src/mover/mover.js";
import type { MoverOptions } from "../../../src/mover/options.js";
import {
  type Changes,
  MoverError,
  type MoverShard,
  type MoverTxn,
  type MoverTxnResult,
  type Page,
  type PageRequest,
  type ShardChange,
} from "../../../src/mover/shard.js";
import { isExpected, Step } from "../../../src/mover/step.js";
import type { NextStep } from "../../../src/mover/survey.js";
import { isWithin } from "../../../src/reshard/bound.js";
import type { Change } from "../../../src/reshard/change.js";
import { genDigits, genLimit, readGen } from "../../../src/reshard/gen.js";
import type { Plan } from "../../../src/reshard/placement.js";
import type { Seals } from "../../../src/timeline/view.js";
import type { KeyValue } from "../../../src/wire/messages.js";
import { Lost } from "./network.js";
import type { SimProxy } from "./proxy.js";
import { Compacted, type Compare, type Item, LeaseNotFound, type Op, type SimShard } from "./shard.js";
import { bytesOf, GEN, type Stage, type StepView, textOf, type World } from "./world.js";

const BY_MOVER = { by: "mover" } as const;
/** Above every key. */
const LAST = "\xff\xff";

/** Small pages, steps and transactions, so that few keys need many of them. */
const optionsOf = ({ random }: World): MoverOptions => ({
  get stepKeys() {
    return 1 + random.below(6);
  },
  stepBytes: 1_000,
  pageKeys: 3,
  get pageBytes() {
    return random.pick([3, 1_000]);
  },
  deleteKeys: 2,
  maxTxnOps: 2,
  maxRequestBytes: 1 << 20,
  concurrency: 3,
  keysInFlight: 4,
});

/** The production mover in a simulated proxy. */
export class SimMover extends Mover {
  constructor(private readonly proxy: SimProxy) {
    const { world, network } = proxy;
    const timer = (ms: number, fn: () => void) => {
      let isCancelled = false;
      void network.sleep(ms).then(() => {
        if (!isCancelled) fn();
      });
      return () => {
        isCancelled = true;
      };
    };
    super({
      log: new SimMoverLog(proxy),
      shardOf: (index) => new SimMoverShard(proxy, index),
      // Each lease of the simulation lives on the shards that the log lists, and has no home among them.
      prepareHomes: async () => {},
      options: optionsOf(world),
      runtime: {
        now: () => world.scheduler.now,
        timer,
        later: (fn) => timer(0, fn),
        random: () => world.random.next(),
      },
      logger: { info() {}, warn() {} },
    });
  }

  /** Claims the plan and works until another mover does, or the plan is done. */
  async work(): Promise<void> {
    await this.run().catch((error) => {
      if (!isExpected(error)) throw error;
    });
  }

  protected override createStep(deps: StepDeps, plan: Plan, { end, read }: NextStep): Step {
    return new SimStep(this.proxy, deps, this.name, plan, end, read);
  }

  protected override backoff(): number {
    return 20 + this.proxy.world.random.below(100);
  }
}

/** A step that a schedule disturbs, and whose rules a test removes. */
class SimStep extends Step {
  private readonly world: World;
  private readonly view: StepView;

  constructor(
    private readonly proxy: SimProxy,
    ...args: ConstructorParameters<typeof Step>
  ) {
    super(...args);
    this.world = proxy.world;
    this.view = {
      proxy,
      isInStep: (key) => {
        const each = bytesOf(key);
        return isWithin(each, this.from, this.to) && this.sourceOf(each) !== this.targetOf(each);
      },
      sourceOf: (key) => this.sourceOf(bytesOf(key)),
      targetOf: (key) => this.targetOf(bytesOf(key)),
    };
  }

  private breaks(rule: string): boolean {
    return this.world.breaks(rule);
  }

  private async hesitate(): Promise<void> {
    await this.proxy.network.sleep(this.world.random.below(this.proxy.network.faults.hesitation));
  }

  private async reach(stage: Stage): Promise<void> {
    await this.world.hook?.(stage, this.view);
  }

  protected override get isOvertaken(): boolean {
    return super.isOvertaken && !this.breaks("a mover whose begin is not valid stops");
  }

  protected override async begin(): Promise<void> {
    await this.hesitate();
    await this.reach("chosen");
    await super.begin();
    await this.reach("begun");
  }

  protected override async raiseTarget(index: number, target: Target, position: number): Promise<void> {
    if (!this.breaks("raise gen on the destinations")) return super.raiseTarget(index, target, position);
    target.gen = position;
  }

  protected override ownGen(target: Target): number | undefined {
    return this.breaks("the mover compares its own gen") ? undefined : super.ownGen(target);
  }

  protected override async importing(index: number, txn: Omit<MoverTxn, "gen">): Promise<MoverTxnResult> {
    await this.reach("importing");
    return super.importing(index, txn);
  }

  protected override async clear(index: number): Promise<void> {
    if (!this.breaks("clear")) await super.clear(index);
  }

  protected override leaseOf(kv: KeyValue): bigint {
    return this.breaks("copies have their leases") ? 0n : super.leaseOf(kv);
  }

  protected override async verify(): Promise<void> {
    if (!this.breaks("verify")) await super.verify();
  }

  protected override suspectIncomplete(key: Uint8Array): void {
    if (!this.breaks("incomplete imports are compared")) super.suspectIncomplete(key);
  }

  protected override suspectChanged(key: Uint8Array): void {
    if (!this.breaks("copies that others change are compared")) super.suspectChanged(key);
  }

  protected override async stop(freeze: number): Promise<ReadonlyMap<number, number>> {
    await this.hesitate();
    const stops = await super.stop(freeze);
    await this.reach("stopped");
    await this.hesitate();
    return stops;
  }

  protected override async stopSource(index: number, freeze: number): Promise<number> {
    if (!this.breaks("raise gen on the sources")) return super.stopSource(index, freeze);
    return this.proxy.network.retry(() => this.world.shards[index].revision);
  }

  protected override async stopTarget(index: number, target: Target, freeze: number): Promise<void> {
    if (!this.breaks("raise gen on the destinations for the freeze"))
      return super.raiseTarget(index, target, freeze);
  }

  protected override async drain(stops: ReadonlyMap<number, number>): Promise<void> {
    if (!this.breaks("drain")) await super.drain(stops);
  }

  protected override async makeReady(): Promise<void> {
    if (!this.breaks("ready")) await super.makeReady();
    await this.reach("ready");
    await this.hesitate();
  }

  protected override endedKeys(): readonly Uint8Array[] {
    return this.breaks("the move ends keys whose lease has ended") ? [] : super.endedKeys();
  }

  override async clean(): Promise<void> {
    if (!this.world.random.chance(0.2)) await super.clean();
    await this.reach("moved");
  }

  protected override async cleaning(index: number, txn: MoverTxn): Promise<MoverTxnResult> {
    await this.reach("cleaning");
    const isBroken = this.breaks("the mover compares gen where it cleans");
    return super.cleaning(index, isBroken ? { ...txn, gen: undefined } : txn);
  }
}

/** The log of a simulated proxy. */
class SimMoverLog implements MoverLog {
  constructor(private readonly proxy: SimProxy) {}

  get placement() {
    return this.proxy.fold.placement.snapshot();
  }

  get locator() {
    return this.proxy.locator;
  }

  get placements() {
    return this.proxy.fold.placements;
  }

  /** Resolves to the position also when the change was not valid, or when that is not known: the mover checks the placement. */
  proposeChange(change: Change, seals: Seals = new Map()): Promise<number> {
    const isUnsealed =
      change.kind === "done" && this.proxy.world.breaks("the end of a plan seals the cleaning");
    return this.proxy.log.append({ change, reached: isUnsealed ? new Map() : seals }).catch(fail);
  }

  sync(): Promise<void> {
    return this.proxy.log.sync();
  }

  seal(shard: number, shardRevision: number): Promise<void> {
    return this.proxy.log.seal(shard, shardRevision);
  }

  toRevision(shard: number, shardRevision: number): number {
    return this.proxy.fold.toRevision(shard, shardRevision);
  }

  versionOffset(shard: number, life: number): number {
    return this.proxy.fold.versionOffset(shard, life);
  }

  place(lease: bigint, shard: number): Promise<void> {
    return this.proxy.log.appendRepeatedly({ leases: [{ kind: "place", lease, shard }] });
  }
}

/** A simulated shard, over a proxy's network. */
class SimMoverShard implements MoverShard {
  private readonly shard: SimShard;

  constructor(
    private readonly proxy: SimProxy,
    index: number,
  ) {
    this.shard = proxy.world.shards[index];
  }

  get name(): string {
    return this.shard.name;
  }

  range({ from, to, limit, revision = 0, keysOnly = false }: PageRequest): Promise<Page> {
    const [start, end] = [from === null ? LAST : textOf(from), to === null ? LAST : textOf(to)];
    const read = () => ({
      revision: this.shard.revision,
      items: this.shard.range(start, end, revision),
    });
    const page = this.proxy.network.retry(read).catch(fail);
    return page.then(({ revision: at, items }) => ({
      kvs: items.slice(0, limit).map((item) => keyValueOf(keysOnly ? { ...item, value: "" } : item)),
      more: items.length > limit,
      revision: at,
    }));
  }

  txn({ gen, ops }: MoverTxn): Promise<MoverTxnResult> {
    const guard = gen === undefined ? [] : genIs(gen);
    const success = ops.map(
      (op): Op =>
        op.kind === "delete"
          ? { kind: "delete", from: textOf(op.key), ...(op.end && { to: textOf(op.end) }) }
          : { kind: "put", key: textOf(op.key), value: textOf(op.value), lease: Number(op.lease) },
    );
    return this.proxy.network
      .call(() => this.shard.txn({ guard, success }, BY_MOVER))
      .then(({ guarded, changed, revision }) => ({ succeeded: guarded, changed, revision }))
      .catch(fail);
  }

  revision(): Promise<number> {
    return this.proxy.network.retry(() => this.shard.revision);
  }

  changes(from: number): Changes {
    return new SimChanges(this.proxy, this.shard, from);
  }

  async raiseGen(position: number): Promise<number | undefined> {
    const { shard } = this;
    const found = await this.proxy.network.retry(() => {
      const guard = [{ key: GEN, valueBelow: genDigits(position) }];
      shard.txn(
        { guard, success: [{ kind: "put", key: GEN, value: `${genDigits(position)} {}` }] },
        BY_MOVER,
      );
      return shard.get(GEN)!;
    });
    return readGen(bytesOf(found.value)) === position ? found.mod : undefined;
  }

  async checkSpace(): Promise<void> {}

  leaseTtl(lease: bigint): Promise<number | undefined> {
    return this.proxy.network.retry(() => (this.shard.leases.has(Number(lease)) ? 1 : undefined));
  }

  grant(lease: bigint): Promise<void> {
    return this.proxy.network.retry(() => this.shard.grant(Number(lease)));
  }

  async endPart(lease: bigint): Promise<void> {
    await this.proxy.network.retry(() => this.shard.endLease(Number(lease)));
  }
}

class SimChanges implements Changes {
  constructor(
    private readonly proxy: SimProxy,
    private readonly shard: SimShard,
    private from: number,
  ) {}

  async next(until: number): Promise<readonly ShardChange[]> {
    if (this.from > until) return [];
    const most = 1 + this.proxy.world.random.below(5);
    const read = () => this.shard.changesFrom(this.from).filter(({ revision }) => revision <= until);
    const changes = (await this.proxy.network.retry(read).catch(fail)).slice(0, most);
    this.from = changes.at(-1)!.revision + 1;
    return changes.map(({ revision, events }) => ({
      revision,
      kvs: events.map(({ key, item }) => keyValueOf(item ?? deletion(key, revision))),
    }));
  }

  close(): void {}
}

const deletion = (key: string, mod: number): Item => ({
  key,
  value: "",
  create: 0,
  mod,
  version: 0,
  lease: 0,
});

const keyValueOf = ({ key, value, create, mod, version, lease }: Item): KeyValue => ({
  key: bytesOf(key),
  value: bytesOf(value),
  createRevision: create,
  modRevision: mod,
  version,
  lease: BigInt(lease),
});

/** Compares that gen is exactly `position`: no other mover has raised it. */
const genIs = (position: number): Compare[] => [
  { key: GEN, valueAbove: genDigits(position) },
  { key: GEN, valueBelow: genLimit(position) },
];

function fail(error: unknown): never {
  if (error instanceof Lost) throw new MoverError("unknown outcome", "lost");
  if (error instanceof Compacted) throw new MoverError("compacted", "compacted");
  if (error instanceof LeaseNotFound) throw new MoverError("lease not found", "lease not found");
  throw error;
}
