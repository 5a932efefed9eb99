import { type Bound, compareBounds, isWithin } from "../reshard/bound.js";
import type { MapRouter } from "../reshard/maps.js";
import type { Plan } from "../reshard/placement.js";
import type { Runtime } from "../turn/runtime.js";
import { EMPTY, type KeyValue } from "../wire/messages.js";
import { type Batch, Batches } from "./batches.js";
import type { Flow } from "./flow.js";
import { GivenUp } from "./givenUp.js";
import { Imports } from "./imports.js";
import { LeaseParts, partName } from "./leaseParts.js";
import type { MoverLog } from "./log.js";
import type { MoverOptions } from "./options.js";
import { type Pace, SHARES } from "./pace.js";
import { PageReader, sizeOf } from "./pages.js";
import { Pipeline } from "./pipeline.js";
import type { MutableProgress } from "./progress.js";
import {
  type Changes,
  MoverError,
  type MoverShard,
  type MoverTxn,
  type MoverTxnResult,
  type Page,
} from "./shard.js";
import { inTurns } from "./turns.js";
import { copyLimits, readWindow, type Window, type WindowLimits } from "./windows.js";

export interface StepDeps {
  readonly log: MoverLog;
  readonly shardOf: (index: number) => MoverShard;
  readonly options: MoverOptions;
  readonly runtime: Pick<Runtime, "now" | "timer" | "later">;
  readonly pace: Pace;
  readonly flow: Flow;
  readonly progress: MutableProgress;
  /** True when the mover is to end as soon as no step is frozen. */
  readonly isStopping: () => boolean;
}

/** The mover's state of a destination. */
export interface Target {
  /** The position to which this mover has raised gen. */
  gen: number;
  /**
   * A shard revision at or above the mover's newest write, at which the destination is compared. It may be another's change: a
   * deletion that finds nothing to delete, because the key's lease has ended, responds at that end or later.
   */
  newest: number;
  readonly imports: Imports;
  /** The changes since the verification began; undefined before. */
  changes: Changes | undefined;
  /** Shard revisions of the mover's own writes that `changes` has not returned yet. */
  readonly own: Set<number>;
}

/**
 * Copies the keys of a step from its sources to its destinations, and applies the sources' changes to the copies. Keys whose
 * import was incomplete because of a lease become suspects.
 */
export class Copying {
  readonly from: Bound;
  readonly to: Bound;
  protected readonly source: MapRouter;
  protected readonly destination: MapRouter;
  protected readonly sources: readonly number[];
  protected readonly targets = new Map<number, Target>();
  private readonly readers = new Map<number, PageReader>();
  /** Source → its changes that are not copied yet. */
  private readonly changes = new Map<number, Changes>();
  /** Source → shard revision up to which its keys are copied. */
  private readonly copied = new Map<number, number>();
  protected readonly pipeline: Pipeline;
  private readonly parts: LeaseParts;
  protected suspects = new Map<string, Uint8Array>();
  /** Keys that the sources hold at their stops, but whose lease has ended. */
  protected readonly ended = new Map<string, Uint8Array>();
  /** The position of the freeze; 0 before. */
  protected position = 0;
  /** True when a part of the attempt has failed, so that the others end as well. */
  private hasFailed = false;

  /**
   * `end` is a boundary of both maps ahead of the plan's cursor. `read`: what is read of the sources already, from the begin of
   * the step on. The keys have not moved since when the mover's begin is valid.
   */
  constructor(
    protected readonly deps: StepDeps,
    /** The mover's name. */
    protected readonly mover: number,
    protected readonly plan: Plan,
    protected readonly end: Bound,
    private readonly read: Map<number, Window> = new Map(),
  ) {
    const { locator } = deps.log;
    const [sourceMap, destinationMap] = plan.up ? [plan.above, plan.below] : [plan.below, plan.above];
    [this.from, this.to] = plan.up ? [plan.cursor, end] : [end, plan.cursor];
    this.source = locator.router(sourceMap);
    this.destination = locator.router(destinationMap);
    const sources = locator.shardsBetween(sourceMap, this.from, this.to);
    const destinations = locator.shardsBetween(destinationMap, this.from, this.to);
    // A shard moves no keys to itself.
    this.sources = sources.filter((index) => destinations.some((other) => other !== index));
    this.parts = new LeaseParts(deps);
    this.pipeline = new Pipeline(deps.options.concurrency, deps.flow, deps.runtime);
    for (const index of destinations) {
      if (!sources.some((other) => other !== index)) continue;
      this.targets.set(index, {
        gen: 0,
        newest: 0,
        imports: new Imports(),
        changes: undefined,
        own: new Set(),
      });
    }
  }

  protected get isFrozen(): boolean {
    return this.position > 0;
  }

  protected sourceOf(key: Uint8Array): number {
    return this.source.shardOf(key);
  }

  protected targetOf(key: Uint8Array): number {
    return this.destination.shardOf(key);
  }

  protected isFrom(key: Uint8Array, index: number): boolean {
    return isWithin(key, this.from, this.to) && this.sourceOf(key) === index && this.targetOf(key) !== index;
  }

  protected isFor(key: Uint8Array, index: number): boolean {
    return isWithin(key, this.from, this.to) && this.targetOf(key) === index && this.sourceOf(key) !== index;
  }

  /** True when the log says that this attempt cannot succeed: another mover is at work, or the plan has turned back. */
  protected get isOvertaken(): boolean {
    const { plan, mover } = this.deps.log.placement;
    const { number, cursor } = this.plan;
    return mover !== this.mover || plan?.number !== number || compareBounds(plan.cursor, cursor) !== 0;
  }

  /** Ends an attempt that is pointless, between pages. */
  protected checkpoint(): void {
    if (this.hasFailed) throw new GivenUp("another part of the step has failed");
    if (this.isFrozen) return;
    if (this.deps.isStopping()) throw new GivenUp("the mover is stopping");
    if (this.isOvertaken) throw new GivenUp("the plan has changed, or another mover has taken over");
    // An earlier attempt's freeze has reached the log late.
    if (this.deps.log.placement.plan?.frozen !== undefined) throw new GivenUp("the step is frozen");
  }

  /** Runs parts of the attempt at the same time. Rejects with the first failure, once all have ended. */
  protected async together<T>(parts: readonly Promise<T>[]): Promise<T[]> {
    const watched = parts.map((part) =>
      part.catch((error) => {
        this.hasFailed = true;
        throw error;
      }),
    );
    await Promise.allSettled(watched);
    return Promise.all(watched);
  }

  /** The position that a write on a destination requires of gen. */
  protected ownGen(target: Target): number | undefined {
    return target.gen;
  }

  /** A transaction of the mover on a destination. */
  protected async importing(index: number, txn: Omit<MoverTxn, "gen">): Promise<MoverTxnResult> {
    const target = this.target(index);
    const result = await this.deps.shardOf(index).txn({ ...txn, gen: this.ownGen(target) });
    if (result.succeeded) target.newest = Math.max(target.newest, result.revision);
    if (result.changed && target.changes !== undefined) target.own.add(result.revision);
    return result;
  }

  protected target(index: number): Target {
    const target = this.targets.get(index);
    if (target === undefined) throw new RangeError(`shard ${index} is not a destination of the step`);
    return target;
  }

  /** Copies the step's keys from a source, window by window, each at the newest revision of that moment. */
  protected async copy(index: number): Promise<void> {
    const { log, shardOf, pace, progress } = this.deps;
    const shard = shardOf(index);
    // Before anything else is read: the shard may be compacted at any time, and then changes from the past cannot be had.
    const begin = this.read.get(index)?.revision ?? (await shard.revision());
    this.copied.set(index, begin);
    this.changes.set(index, shard.changes(begin + 1));
    for (let from: Bound | undefined = this.from; from !== undefined; ) {
      this.checkpoint();
      const { kvs, revision, next }: Window = await this.nextWindow(index, from);
      await this.catchUp(index, revision, from);
      await log.seal(index, revision, true);
      let counted = 0;
      const count = (keys: number) => {
        counted += keys;
        progress.stepKeys += keys;
        progress.keys += keys;
      };
      await this.import(index, kvs, async (keys) => {
        await pace.take(keys, SHARES.copy);
        count(keys);
      });
      // Keys whose lease has ended are not copied.
      count(kvs.length - counted);
      for (const kv of kvs) progress.bytes += sizeOf(kv);
      from = next;
    }
    await this.pipeline.drain();
  }

  /** The keys that a source has of the step from `from` on, as many as are copied at once. */
  private async nextWindow(index: number, from: Bound): Promise<Window> {
    const read = this.read.get(index);
    if (read === undefined) return this.readWindow(index, from, copyLimits(this.deps.options));
    this.read.delete(index);
    const isWhole = read.next === undefined || compareBounds(read.next, this.to) >= 0;
    const kvs: KeyValue[] = [];
    await inTurns(read.kvs, this.deps.runtime, (kv) => {
      if (this.isFrom(kv.key, index)) kvs.push(kv);
    });
    return { kvs, revision: read.revision, next: isWhole ? undefined : read.next };
  }

  /** Reads the keys that a source has of the step from `from` on. */
  protected readWindow(index: number, from: Bound, limits: WindowLimits): Promise<Window> {
    const readPage = (at: Bound, revision: number) => this.readPage(index, at, this.to, revision);
    return readWindow(readPage, from, (key) => this.isFrom(key, index), limits);
  }

  /** Reads a page of a shard, with values, at a shard revision, or at its newest. */
  protected readPage(index: number, from: Bound, to = this.to, revision = 0): Promise<Page> {
    let reader = this.readers.get(index);
    if (reader === undefined) {
      reader = new PageReader(this.deps.shardOf(index), this.deps.options);
      this.readers.set(index, reader);
    }
    return reader.read({ from, to, revision });
  }

  /**
   * Copies keys of a source with their revisions: one or more transactions for each create or mod revision. A key with
   * different ones is put twice, first empty. All these revisions must be sealed. `admit` resolves when so many more keys may
   * be put.
   */
  protected async import(
    index: number,
    items: readonly KeyValue[],
    admit?: (keys: number) => Promise<void>,
  ): Promise<void> {
    const { log, options } = this.deps;
    const first = new Batches(options);
    const second = new Batches(options);
    const alive = await this.placeParts(index, items);
    await inTurns(items, this.deps.runtime, (item) => {
      const { key, value } = item;
      const target = this.targetOf(key);
      const lease = this.leaseOf(item);
      if (lease !== 0n && !alive.has(partName(lease, target))) {
        // The source will delete the key. If the step is frozen already, the key ends with the move instead.
        if (this.isFrozen) this.ended.set(nameOf(key), key);
        else this.suspectIncomplete(key);
        return;
      }
      const create = log.toRevision(index, item.createRevision);
      const mod = log.toRevision(index, item.modRevision);
      const version = item.version + log.versionOffset(index, item.createRevision);
      if (create !== mod)
        first.add(target, create, version - 2, { kind: "put", key, value: EMPTY, lease: 0n });
      second.add(target, mod, create === mod ? version - 1 : 0, { kind: "put", key, value, lease });
    });
    await this.send(first);
    await this.send(second, admit);
  }

  /** The lease that the copy of a key gets. */
  protected leaseOf({ lease }: KeyValue): bigint {
    return lease;
  }

  private async send({ all }: Batches, admit?: (keys: number) => Promise<void>): Promise<void> {
    for (const batch of all) {
      await admit?.(batch.ops.length);
      await this.pipeline.run(
        batch.ops.map(({ key }) => nameOf(key)),
        () => this.importBatch(batch),
      );
    }
  }

  private async importBatch({ target, revision, offset, ops }: Batch): Promise<void> {
    try {
      const { succeeded, changed, revision: shardRevision } = await this.importing(target, { ops });
      if (!succeeded) throw new GivenUp("another mover has taken over");
      if (changed && ops.some(({ kind }) => kind === "put"))
        this.target(target).imports.add(shardRevision, revision, offset);
    } catch (error) {
      if (!(error instanceof MoverError) || error.problem !== "lease not found") throw error;
      for (const op of ops) {
        if (op.kind === "put") this.parts.forget(op.lease, target);
        this.suspectIncomplete(op.key);
      }
    }
  }

  /** Grants the parts that the copies of these keys need. Returns the names of those that are there. */
  private placeParts(index: number, items: readonly KeyValue[]): Promise<ReadonlySet<string>> {
    const needed = items.flatMap((item) => {
      const lease = this.leaseOf(item);
      return lease === 0n ? [] : { lease, target: this.targetOf(item.key) };
    });
    return this.parts.place(index, needed);
  }

  /** Marks a key whose import was not complete. It is compared before the move. */
  protected suspectIncomplete(key: Uint8Array): void {
    this.suspects.set(nameOf(key), key);
  }

  /**
   * Applies the changes of a source up to the shard revision `until` to the keys below `below`: those that are copied.
   * Resolves to the number of changed keys, once the imports have begun.
   */
  protected async catchUp(index: number, until: number, below: Bound): Promise<number> {
    const changes = this.changes.get(index);
    if (changes === undefined || until <= (this.copied.get(index) ?? 0)) return 0;
    const { log } = this.deps;
    let count = 0;
    for (let next = await changes.next(until); next.length > 0; next = await changes.next(until)) {
      this.checkpoint();
      const relevant = next.flatMap(({ revision, kvs }) => {
        const own = kvs.filter(({ key }) => compareBounds(key, below) < 0 && this.isFrom(key, index));
        return own.length > 0 ? [{ revision, kvs: own }] : [];
      });
      const newest = relevant.at(-1)?.revision;
      if (newest !== undefined) await log.seal(index, newest, true);
      for (const { revision, kvs } of relevant) count += await this.applyChange(index, revision, kvs);
    }
    this.copied.set(index, until);
    return count;
  }

  private async applyChange(index: number, shardRevision: number, kvs: readonly KeyValue[]): Promise<number> {
    const { log, options } = this.deps;
    const revision = log.toRevision(index, shardRevision);
    const counted = kvs.filter(
      ({ key }) => log.locator.countsAt(key, index, shardRevision, revision) !== undefined,
    );
    const alive = await this.placeParts(index, counted);
    const batches = new Batches(options);
    for (const kv of counted) {
      const { key, value, version } = kv;
      const target = this.targetOf(key);
      if (version === 0) {
        batches.add(target, revision, 0, { kind: "delete", key });
        continue;
      }
      let lease = this.leaseOf(kv);
      if (lease !== 0n && !alive.has(partName(lease, target))) {
        this.suspectIncomplete(key);
        lease = 0n;
      }
      batches.add(target, revision, 0, { kind: "put", key, value, lease });
    }
    await this.send(batches);
    return counted.length;
  }

  /** Applies what has changed on the sources so far. Resolves to the number of changed keys. */
  protected async catchUpAll(): Promise<number> {
    const counts = await this.together(
      this.sources.map(async (index) =>
        this.catchUp(index, await this.deps.shardOf(index).revision(), this.to),
      ),
    );
    await this.pipeline.drain();
    return counts.reduce((sum, count) => sum + count, 0);
  }

  protected copiedTo(index: number): number {
    return this.copied.get(index) ?? 0;
  }

  /** Ends all calls of the attempt. */
  protected async close(): Promise<void> {
    // gen guards that work in flight writes nothing once another attempt has begun. Waiting for it avoids failures there.
    await this.pipeline.drain().catch(() => {});
    for (const changes of this.changes.values()) changes.close();
    for (const { changes } of this.targets.values()) changes?.close();
  }
}

/** The text of a key, for maps and sets. */
export const nameOf = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
