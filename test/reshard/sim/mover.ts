import { type Bound, compareBounds, isWithin, START } from "../../../src/reshard/bound.js";
import { genDigits, genLimit, readGen } from "../../../src/reshard/gen.js";
import type { MapRouter } from "../../../src/reshard/maps.js";
import type { Plan } from "../../../src/reshard/placement.js";
import { Lost } from "./network.js";
import type { SimProxy } from "./proxy.js";
import { Compacted, type Compare, type Item, LeaseNotFound, type Op, type TxnAnswer } from "./shard.js";
import { bytesOf, GEN, type Seen, type StepView, textOf, translate, type World } from "./world.js";

/** The mover cannot continue with this step: another one has taken over, or an attempt failed. A later try may succeed. */
class GivenUp extends Error {}

const BY_MOVER = { by: "mover" } as const;
/** Above every key. */
const LAST = "\xff\xff";
const PAGE = 3;

/** The mover's state of a destination. */
interface Target {
  /** The position to which this mover has raised gen. */
  gen: number;
  /** Shard revision of the newest write of the mover. */
  newest: number;
  /** Imports: shard revision → revision. */
  readonly twins: Map<number, number>;
  /** Create revision on the shard → version offset. */
  readonly offsets: Map<number, number>;
}

/** Carries out plans. Movers may run in several proxies at once. */
export class SimMover {
  private readonly world: World;
  private name = 0;

  constructor(private readonly proxy: SimProxy) {
    this.world = proxy.world;
  }

  /** Claims the plan and works until another mover does, or the plan is done. */
  async work(): Promise<void> {
    try {
      this.name = await this.proxy.log.append({ change: { kind: "claim" } });
      for (;;) {
        const { plan, mover } = this.proxy.fold.placement.snapshot();
        if (plan === undefined || mover !== this.name) return;
        if (plan.frozen !== undefined) await this.thaw(plan.frozen.position);
        else if (this.proxy.fold.placement.isSwept) await this.finish(plan);
        else await this.tryStep(plan);
      }
    } catch (error) {
      if (!(error instanceof Lost || error instanceof GivenUp)) throw error;
    }
  }

  private async tryStep(plan: Plan): Promise<void> {
    try {
      await new Step(this.proxy, this.name, plan).run();
    } catch (error) {
      if (!(error instanceof Lost || error instanceof GivenUp || error instanceof Compacted)) throw error;
      await this.proxy.network.sleep(20 + this.world.random.below(100));
      await this.proxy.log.sync();
    }
  }

  private async thaw(freeze: number): Promise<void> {
    await this.proxy.log.append({ change: { kind: "thaw", mover: this.name, freeze } });
  }

  /** Deletes from every shard the keys that it does not hold, then ends the plan. */
  private async finish({ number }: Plan): Promise<void> {
    const { proxy, world } = this;
    const position = await proxy.log.append({ change: { kind: "begin", mover: this.name } });
    const now = proxy.fold.placement.snapshot();
    if (now.mover !== this.name || now.plan?.number !== number) return;
    for (const index of proxy.fold.store.timeline.cut.keys()) {
      await raiseGen(proxy, index, position);
      const items = await proxy.network.retry(() => world.shards[index].range("\x01", LAST));
      for (const { key, mod } of items) {
        if (proxy.locator.shardOf(bytesOf(key)) === index) continue;
        const guard = [...genIs(position), { key, mod }];
        const { guarded } = await proxy.network.call(() =>
          world.shards[index].txn({ guard, success: [{ kind: "delete", from: key }] }, BY_MOVER),
        );
        // Another mover may have begun. It cleans the shards again, so the plan is not done.
        if (!guarded) throw new GivenUp();
      }
    }
    await proxy.log.append({ change: { kind: "done", plan: number } });
  }
}

/** One attempt at one step. */
class Step implements StepView {
  private readonly world: World;
  private readonly source: MapRouter;
  private readonly destination: MapRouter;
  private from!: Bound;
  private to!: Bound;
  private sources: readonly number[] = [];
  private readonly targets = new Map<number, Target>();
  /** Source → shard revision up to which its keys are copied. */
  private readonly progress = new Map<number, number>();
  /** Keys that the sources hold at their stops, but whose lease has ended. */
  private readonly ended = new Set<string>();
  private frozen = false;

  constructor(
    readonly proxy: SimProxy,
    private readonly mover: number,
    private readonly plan: Plan,
  ) {
    this.world = proxy.world;
    const { locator } = proxy;
    this.source = locator.router(plan.up ? plan.above : plan.below);
    this.destination = locator.router(plan.up ? plan.below : plan.above);
  }

  async run(): Promise<void> {
    const { proxy, plan, world } = this;
    const end = await this.chooseEnd();
    [this.from, this.to] = plan.up ? [plan.cursor, end] : [end, plan.cursor];
    await this.hesitate();
    await world.hook?.("chosen", this);
    await this.begin();
    await world.hook?.("begun", this);
    for (const index of this.targets.keys()) await this.clear(index);
    for (const index of this.sources) await this.copy(index);
    for (const index of this.sources) await this.catchUp(index, await this.revisionOf(index));
    if (!world.breaks("verify")) await this.reconcile();
    const freeze = await proxy.log.append({
      change: { kind: "freeze", mover: this.mover, plan: plan.number, cursor: plan.cursor, to: end },
    });
    if (proxy.fold.placement.snapshot().plan?.frozen?.position !== freeze) throw new GivenUp();
    this.frozen = true;
    await this.hesitate();
    const stops = await this.stop(freeze);
    await world.hook?.("stopped", this);
    await this.hesitate();
    if (!world.breaks("drain")) for (const [index, stop] of stops) await this.catchUp(index, stop);
    await this.makeReady();
    await world.hook?.("ready", this);
    await this.hesitate();
    await this.move(freeze, stops);
    if (!world.random.chance(0.2)) await this.clean(freeze);
    await world.hook?.("moved", this);
  }

  private async hesitate(): Promise<void> {
    await this.proxy.network.sleep(this.world.random.below(this.proxy.network.faults.hesitation));
  }

  /** Chooses the end of the step: a boundary of both maps, a few keys ahead. */
  private async chooseEnd(): Promise<Bound> {
    const { proxy, plan, world } = this;
    const keys = new Set<string>();
    for (const index of proxy.fold.store.timeline.cut.keys()) {
      const items = await proxy.network.retry(() => world.shards[index].range("\x01", LAST));
      for (const { key } of items) keys.add(key);
    }
    const boundaries = world.maps.boundariesOf(plan.below, plan.above);
    const sorted = [...keys].sort();
    const cursor = plan.cursor === null ? LAST : textOf(plan.cursor);
    const candidates = plan.up
      ? sorted.filter((key) => key >= cursor)
      : sorted.filter((key) => key < cursor).reverse();
    const chosen = candidates[1 + world.random.below(6)];
    if (chosen === undefined) return plan.up ? null : START;
    return plan.up ? boundaries.above(bytesOf(`${chosen}\0`)) : boundaries.below(bytesOf(chosen));
  }

  /** Logs the begin and raises gen on the destinations to its position. */
  private async begin(): Promise<void> {
    const { proxy } = this;
    const { locator } = proxy;
    const { plan } = this;
    const [sourceMap, destinationMap] = plan.up ? [plan.above, plan.below] : [plan.below, plan.above];
    this.sources = [...locator.shardsBetween(sourceMap, this.from, this.to)];
    const position = await proxy.log.append({ change: { kind: "begin", mover: this.mover } });
    // A valid begin proves that no key has moved since the choice of the step. From here on gen guards that.
    const { mover, plan: now } = proxy.fold.placement.snapshot();
    if (mover !== this.mover || now?.number !== plan.number || compareBounds(now.cursor, plan.cursor) !== 0)
      if (!this.world.breaks("a mover whose begin is not valid stops")) throw new GivenUp();
    for (const index of locator.shardsBetween(destinationMap, this.from, this.to)) {
      const target = { gen: position, newest: 0, twins: new Map(), offsets: new Map() };
      this.targets.set(index, target);
      if (!this.world.breaks("raise gen on the destinations"))
        target.newest = await raiseGen(proxy, index, position);
    }
  }

  sourceOf(key: string): number {
    return this.source.shardOf(bytesOf(key));
  }

  targetOf(key: string): number {
    return this.destination.shardOf(bytesOf(key));
  }

  isInStep(key: string): boolean {
    const bytes = bytesOf(key);
    return (
      isWithin(bytes, this.from, this.to) && this.source.shardOf(bytes) !== this.destination.shardOf(bytes)
    );
  }

  private isFrom(key: string, index: number): boolean {
    return this.isInStep(key) && this.sourceOf(key) === index;
  }

  private isFor(key: string, index: number): boolean {
    return this.isInStep(key) && this.targetOf(key) === index;
  }

  private async revisionOf(index: number): Promise<number> {
    const revision = await this.proxy.network.retry(() => this.world.shards[index].revision);
    await this.proxy.log.seal(index, revision);
    return revision;
  }

  private list(index: number, at = 0): Promise<Item[]> {
    return this.proxy.network.retry(() => this.world.shards[index].range("\x01", LAST, at));
  }

  /** A transaction of the mover on a destination. */
  private async importing(
    index: number,
    success: readonly Op[],
    more: readonly Compare[] = [],
  ): Promise<TxnAnswer> {
    const target = this.targets.get(index)!;
    const own = this.world.breaks("the mover compares its own gen") ? [] : genIs(target.gen);
    const answer = await this.proxy.network.call(() =>
      this.world.shards[index].txn({ guard: [...own, ...more], success }, BY_MOVER),
    );
    if (!answer.guarded) throw new GivenUp();
    if (answer.changed) target.newest = answer.revision;
    return answer;
  }

  private async clear(index: number): Promise<void> {
    if (this.world.breaks("clear")) return;
    for (const { key, mod } of await this.list(index)) {
      if (this.isFor(key, index))
        await this.importing(index, [{ kind: "delete", from: key }], [{ key, mod }]);
    }
  }

  /** Copies the step's keys from a source, page by page, each at the head of that moment. */
  private async copy(index: number): Promise<void> {
    let copied = "";
    this.progress.set(index, await this.revisionOf(index));
    for (;;) {
      const revision = await this.revisionOf(index);
      await this.catchUp(index, revision, copied);
      const items = (await this.list(index, revision)).filter(
        ({ key }) => this.isFrom(key, index) && key > copied,
      );
      const page = items.slice(0, PAGE);
      await this.import(index, page);
      if (page.length < PAGE) return;
      copied = page[PAGE - 1].key;
    }
  }

  /** Copies keys with their revisions: one or more transactions for each create or mod revision. */
  private async import(index: number, items: readonly Item[]): Promise<void> {
    const first = new Map<string, Op[]>();
    const second = new Map<string, Op[]>();
    for (const item of items) {
      const target = this.targetOf(item.key);
      const { create, mod, version } = translate(this.proxy.fold, index, item);
      const lease = this.world.breaks("copies have their leases") ? 0 : item.lease;
      if (lease !== 0 && !(await this.placeLease(lease, index, target))) {
        // The source will delete the key. If the step is frozen already, the key ends with the move instead.
        if (this.frozen) this.ended.add(item.key);
        continue;
      }
      if (create !== mod) {
        add(first, `${target} ${create} ${version - 2}`, { kind: "put", key: item.key, value: "" });
      }
      const offset = create === mod ? version - 1 : 0;
      add(second, `${target} ${mod} ${offset}`, { kind: "put", key: item.key, value: item.value, lease });
    }
    for (const [group, ops] of [...first, ...second]) {
      const [target, revision, offset] = group.split(" ").map(Number);
      try {
        const answer = await this.importing(target, ops);
        this.note(target, answer, revision, offset);
      } catch (error) {
        // One of the leases has ended. `reconcile` finds the missing keys later.
        if (!(error instanceof LeaseNotFound)) throw error;
      }
    }
  }

  private note(index: number, answer: TxnAnswer, revision: number, offset: number): void {
    const target = this.targets.get(index)!;
    target.twins.set(answer.revision, revision);
    if (offset > 0) target.offsets.set(answer.revision, offset);
  }

  /** Grants a part of a lease on a destination. False when the lease has ended. */
  private async placeLease(lease: number, source: number, index: number): Promise<boolean> {
    const { proxy, world } = this;
    if (!proxy.fold.placements.get(BigInt(lease))?.has(index)) {
      await proxy.log.appendRepeatedly({ leases: [{ kind: "place", lease: BigInt(lease), shard: index }] });
    } else if (await proxy.network.retry(() => world.shards[index].leases.has(lease))) {
      return true;
    }
    // The lease may have ended before it was placed here. So check its part on the source after the log has the new part.
    await proxy.network.retry(() => world.shards[index].grant(lease));
    if (await proxy.network.retry(() => world.shards[source].leases.has(lease))) return true;
    await proxy.network.retry(() => world.shards[index].endLease(lease));
    return false;
  }

  /** Applies the events of a source up to `until` to the keys that are copied: those up to `last`. */
  private async catchUp(index: number, until: number, last = LAST): Promise<void> {
    const { proxy, world } = this;
    const from = this.progress.get(index)! + 1;
    await proxy.log.seal(index, until);
    const changes = await proxy.network.retry(() =>
      world.shards[index].changesFrom(from).filter(({ revision }) => revision <= until),
    );
    for (const { revision: shardRevision, events } of changes) {
      const revision = proxy.fold.toRevision(index, shardRevision);
      const byTarget = new Map<string, Op[]>();
      for (const { key, item } of events) {
        if (!this.isFrom(key, index) || key > last) continue;
        if (proxy.locator.countsAt(bytesOf(key), index, shardRevision, revision) === undefined) continue;
        const target = this.targetOf(key);
        if (item === undefined) {
          add(byTarget, `${target}`, { kind: "delete", from: key });
          continue;
        }
        let lease = this.world.breaks("copies have their leases") ? 0 : item.lease;
        if (lease !== 0 && !(await this.placeLease(lease, index, target))) lease = 0;
        add(byTarget, `${target}`, { kind: "put", key, value: item.value, lease });
      }
      for (const [target, ops] of byTarget) {
        try {
          const answer = await this.importing(Number(target), ops);
          if (answer.changed) this.note(Number(target), answer, revision, 0);
        } catch (error) {
          if (!(error instanceof LeaseNotFound)) throw error;
        }
      }
    }
    this.progress.set(index, until);
  }

  /** The step's keys on a destination, in the store's revisions. */
  private imported(index: number, items: readonly Item[]): Map<string, Seen> {
    const { twins, offsets } = this.targets.get(index)!;
    const found = new Map<string, Seen>();
    for (const item of items) {
      if (!this.isFor(item.key, index)) continue;
      found.set(item.key, {
        ...item,
        create: twins.get(item.create) ?? 0,
        mod: twins.get(item.mod) ?? 0,
        version: item.version + (offsets.get(item.create) ?? 0),
      });
    }
    return found;
  }

  /** Compares both sides and copies the differences again: ends of leases and deletions of ranges. True if there were none. */
  private async reconcile(): Promise<boolean> {
    let same = true;
    const copies = new Map<string, Seen>();
    for (const [index, target] of this.targets) {
      const at = Math.max(1, target.newest);
      for (const [key, seen] of this.imported(index, await this.list(index, at))) copies.set(key, seen);
    }
    for (const index of this.sources) {
      const wanted = await this.list(index, this.progress.get(index)!);
      const again: Item[] = [];
      for (const item of wanted) {
        if (!this.isFrom(item.key, index)) continue;
        const copy = copies.get(item.key);
        copies.delete(item.key);
        if (copy !== undefined && equal(copy, translate(this.proxy.fold, index, item))) continue;
        if (copy === undefined && this.ended.has(item.key)) continue;
        again.push(item);
        if (copy !== undefined) await this.drop(item.key);
      }
      if (again.length > 0) same = false;
      await this.import(index, again);
    }
    for (const key of copies.keys()) {
      same = false;
      await this.drop(key);
    }
    return same;
  }

  private async drop(key: string): Promise<void> {
    await this.importing(this.targetOf(key), [{ kind: "delete", from: key }]);
  }

  /** Raises gen for the freeze. Returns the stops: a source's changes up to its stop count. */
  private async stop(freeze: number): Promise<Map<number, number>> {
    const { proxy, world } = this;
    const stops = new Map<number, number>();
    for (const index of this.sources) {
      stops.set(
        index,
        world.breaks("raise gen on the sources")
          ? await this.revisionOf(index)
          : await raiseGen(proxy, index, freeze),
      );
    }
    for (const [index, target] of this.targets) {
      if (world.breaks("raise gen on the destinations for the freeze")) {
        if (stops.has(index)) target.gen = freeze;
        target.newest = Math.max(target.newest, stops.get(index) ?? 0);
        continue;
      }
      target.newest = await raiseGen(proxy, index, freeze);
      target.gen = freeze;
    }
    return stops;
  }

  /** Makes the destinations hold exactly what the sources held at their stops. */
  private async makeReady(): Promise<void> {
    if (this.world.breaks("ready")) return;
    for (let tries = 0; !(await this.reconcile()); tries++) if (tries > 4) throw new GivenUp();
  }

  private async move(freeze: number, stops: ReadonlyMap<number, number>): Promise<void> {
    const { proxy } = this;
    const destinations = await Promise.all(
      [...this.targets].map(async ([shard, target]) => {
        const ready = Math.max(1, target.newest);
        const items = (await this.list(shard, ready)).filter(({ key }) => this.isFor(key, shard));
        const shown = [...new Set(items.flatMap(({ create, mod }) => [create, mod]))].sort((a, b) => a - b);
        const lives = [...new Set(items.map(({ create }) => create))]
          .filter((life) => target.offsets.has(life))
          .sort((a, b) => a - b);
        return {
          shard,
          ready,
          twins: { shardRevisions: shown, revisions: shown.map((each) => target.twins.get(each) ?? 0) },
          offsets: { lives, offsets: lives.map((life) => target.offsets.get(life) ?? 0) },
        };
      }),
    );
    const reached = new Map(stops);
    for (const { shard, ready } of destinations) reached.set(shard, Math.max(ready, reached.get(shard) ?? 0));
    const ended = this.world.breaks("the move ends keys whose lease has ended")
      ? []
      : [...this.ended].map(bytesOf);
    const sources = [...stops].map(([shard, stop]) => ({ shard, stop }));
    const change = { kind: "move", mover: this.mover, freeze, sources, destinations, ended } as const;
    while (proxy.fold.placement.snapshot().plan?.frozen?.position === freeze) {
      await proxy.log.append({ reached, change }).catch((error) => {
        if (!(error instanceof Lost)) throw error;
      });
      await proxy.log.sync();
      if (proxy.fold.placement.snapshot().mover !== this.mover) throw new GivenUp();
    }
    // If another mover has thawed the step, the sources still hold the keys.
    if (!proxy.fold.placement.snapshot().moves.some((move) => move.freeze === freeze)) throw new GivenUp();
  }

  /** Deletes the step's keys from the sources. */
  private async clean(freeze: number): Promise<void> {
    const { proxy, world } = this;
    for (const index of this.sources) {
      for (const { key, mod } of await this.list(index)) {
        if (!this.isFrom(key, index)) continue;
        const guard = [...genIs(freeze), { key, mod }];
        await proxy.network.call(() =>
          world.shards[index].txn({ guard, success: [{ kind: "delete", from: key }] }, BY_MOVER),
        );
      }
    }
  }
}

/** Compares that gen is exactly `position`: no other mover has raised it. */
const genIs = (position: number): Compare[] => [
  { key: GEN, valueAbove: genDigits(position) },
  { key: GEN, valueBelow: genLimit(position) },
];

/** Raises gen on a shard. Returns the shard revision of that write. */
async function raiseGen(proxy: SimProxy, index: number, position: number): Promise<number> {
  const shard = proxy.world.shards[index];
  const found = await proxy.network.retry(() => {
    shard.txn(
      {
        guard: [{ key: GEN, valueBelow: genDigits(position) }],
        success: [{ kind: "put", key: GEN, value: `${genDigits(position)} {}` }],
      },
      BY_MOVER,
    );
    return shard.get(GEN)!;
  });
  if (readGen(Buffer.from(found.value, "latin1")) !== position) throw new GivenUp();
  return found.mod;
}

function add(groups: Map<string, Op[]>, group: string, op: Op): void {
  const ops = groups.get(group);
  if (ops === undefined) groups.set(group, [op]);
  else ops.push(op);
}

const equal = (copy: Seen, wanted: Seen): boolean =>
  copy.value === wanted.value &&
  copy.create === wanted.create &&
  copy.mod === wanted.mod &&
  copy.version === wanted.version &&
  copy.lease === wanted.lease;
