import assert from "node:assert/strict";
import { type Bound, isWithin } from "../../src/reshard/bound.js";
import type { MoveDestination } from "../../src/reshard/change.js";
import { genDigits, genLimit } from "../../src/reshard/gen.js";
import type { MapRouter } from "../../src/reshard/maps.js";
import { MARKS_BEGIN, MARKS_END } from "../../src/timeline/keys.js";
import {
  type Compare,
  CompareResult,
  CompareTarget,
  type Init,
  type KeyValue,
} from "../../src/wire/messages.js";
import { bytes, text } from "./model.js";
import type { Ask, TestProxy } from "./pair.js";

/** Stages of a step: keys copied; step frozen; sources stopped and destinations ready; moved; sources cleaned. */
export type Stage = "copied" | "frozen" | "ready" | "moved" | "cleaned";

const EVERYTHING = { key: Uint8Array.of(1), rangeEnd: Uint8Array.of(0) };

/** Moves keys step by step as the protocol says, without pages and without care for speed. Talks to the etcds directly. */
export class ManualMover {
  private name = 0;

  constructor(
    private readonly proxy: TestProxy,
    private readonly shards: readonly Ask[],
  ) {}

  private get timeline() {
    return this.proxy.store.timeline;
  }

  private async change(
    change: Parameters<TestProxy["store"]["timeline"]["proposeChange"]>[0],
    seals?: ReadonlyMap<number, number>,
  ): Promise<number> {
    const position = await this.timeline.proposeChange(change, seals);
    assert.ok(position !== undefined, `the change is not valid: ${change.kind}`);
    return position;
  }

  /** Starts a plan to the map with the text `map`. */
  async plan(map: string): Promise<void> {
    const { plans } = this.timeline.placement;
    await this.change({ kind: "plan", after: plans, map, shards: [] });
    this.name = await this.change({ kind: "claim" });
  }

  async turnBack(): Promise<void> {
    await this.change({ kind: "turn back", plan: this.timeline.placement.plan!.number });
  }

  /** Moves the step up to `to`. Calls `hook` at each stage. */
  async step(to: Bound, hook: (stage: Stage) => Promise<void> = async () => {}): Promise<void> {
    const { plan } = this.timeline.placement;
    assert.ok(plan !== undefined);
    const step = new Step(this, plan, to);
    const begin = await this.change({ kind: "begin", mover: this.name });
    for (const shard of step.targets.keys()) await this.raise(shard, begin);
    await step.reconcile(begin, await this.heads(step.sources));
    await hook("copied");
    const { number, cursor } = plan;
    const freeze = await this.change({ kind: "freeze", mover: this.name, plan: number, cursor, to });
    await hook("frozen");
    const stops = new Map<number, number>();
    for (const shard of step.sources) stops.set(shard, await this.raise(shard, freeze));
    for (const shard of step.targets.keys()) await this.raise(shard, freeze);
    while (!(await step.reconcile(freeze, stops)));
    await hook("ready");
    const destinations: MoveDestination[] = [];
    const seals = new Map(stops);
    for (const shard of step.targets.keys()) {
      const { ready, ...rest } = await step.destinationOf(shard);
      destinations.push({ shard, ready, ...rest });
      seals.set(shard, Math.max(ready, seals.get(shard) ?? 0));
    }
    const sources = [...stops].map(([shard, stop]) => ({ shard, stop }));
    await this.change({ kind: "move", mover: this.name, freeze, sources, destinations, ended: [] }, seals);
    await hook("moved");
    for (const shard of step.sources) {
      for (const kv of await this.list(shard)) {
        if (step.isFrom(kv.key, shard)) await this.drop(shard, kv, freeze);
      }
    }
    await hook("cleaned");
  }

  /** Freezes up to `to`, calls `hook`, and thaws. */
  async freezeOnly(to: Bound, hook: () => Promise<void>): Promise<void> {
    const { number, cursor } = this.timeline.placement.plan!;
    const freeze = await this.change({ kind: "freeze", mover: this.name, plan: number, cursor, to });
    await hook();
    await this.change({ kind: "thaw", mover: this.name, freeze });
  }

  /** Deletes what is left on other shards, and ends the plan. */
  async finish(): Promise<void> {
    const begin = await this.change({ kind: "begin", mover: this.name });
    const seals = new Map<number, number>();
    for (const shard of this.shards.keys()) {
      await this.raise(shard, begin);
      for (const kv of await this.list(shard)) {
        if (this.timeline.locator.shardOf(kv.key) !== shard) await this.drop(shard, kv, begin);
      }
      seals.set(shard, await this.headOf(shard));
    }
    await this.change({ kind: "done", plan: this.timeline.placement.plan!.number }, seals);
  }

  async list(shard: number, revision = 0): Promise<readonly KeyValue[]> {
    return (await this.shards[shard]("range", { ...EVERYTHING, revision })).kvs;
  }

  async headOf(shard: number): Promise<number> {
    return (await this.shards[shard]("range", { key: bytes("x") })).header!.revision;
  }

  private async heads(shards: readonly number[]): Promise<Map<number, number>> {
    const heads = new Map<number, number>();
    for (const shard of shards) heads.set(shard, await this.headOf(shard));
    return heads;
  }

  private async mark(shard: number): Promise<KeyValue> {
    const { kvs } = await this.shards[shard]("range", { key: MARKS_BEGIN, rangeEnd: MARKS_END });
    return kvs.find((each) => /^[0-9a-f]{16} /.test(text(each.value)))!;
  }

  /** Raises gen on a shard. Returns the shard revision at which it was raised. */
  private async raise(shard: number, position: number): Promise<number> {
    const { key, value } = await this.mark(shard);
    const lower: Init<Compare> = {
      key,
      target: CompareTarget.VALUE,
      result: CompareResult.LESS,
      value: bytes(genDigits(position)),
    };
    const raised = bytes(genDigits(position) + text(value).slice(16));
    await this.shards[shard]("txn", {
      compare: [lower],
      success: [{ kind: "put", request: { key, value: raised } }],
    });
    return (await this.mark(shard)).modRevision;
  }

  /** Writes on a shard if gen is `position` there. Returns the shard revision. */
  async write(
    shard: number,
    position: number,
    success: readonly object[],
    more: readonly Init<Compare>[] = [],
  ): Promise<number> {
    const { key } = await this.mark(shard);
    const compare: Init<Compare>[] = [
      { key, target: CompareTarget.VALUE, result: CompareResult.GREATER, value: bytes(genDigits(position)) },
      { key, target: CompareTarget.VALUE, result: CompareResult.LESS, value: bytes(genLimit(position)) },
      ...more,
    ];
    const response = await this.shards[shard]("txn", { compare, success: success as never });
    assert.ok(response.succeeded, `gen on shard ${shard} is not ${position}`);
    return response.header!.revision;
  }

  private async drop(shard: number, { key, modRevision }: KeyValue, position: number): Promise<void> {
    const unchanged = { key, target: CompareTarget.MOD, result: CompareResult.EQUAL, modRevision };
    await this.write(shard, position, [{ kind: "deleteRange", request: { key } }], [unchanged]);
  }

  /** Makes a lease usable on a shard. */
  async place(lease: bigint, shard: number): Promise<void> {
    if (lease === 0n) return;
    await this.timeline.place(lease, shard);
    await this.shards[shard]("grant", { id: lease, ttl: 3_600 }).catch((error) => {
      if (!/lease already exists/.test(error.message)) throw error;
    });
  }

  /** The key as clients see it. */
  seen(shard: number, kv: KeyValue): KeyValue {
    const { timeline } = this;
    return {
      ...kv,
      createRevision: timeline.toRevision(shard, kv.createRevision),
      modRevision: timeline.toRevision(shard, kv.modRevision),
      version: kv.version + timeline.versionOffset(shard, kv.createRevision),
    };
  }

  seal(shard: number, revision: number): Promise<void> {
    return this.timeline.seal(shard, revision, false);
  }

  router(map: string): MapRouter {
    return this.timeline.locator.router(map);
  }

  shardsBetween(map: string, from: Bound, to: Bound): readonly number[] {
    return this.timeline.locator.shardsBetween(map, from, to);
  }
}

interface Target {
  /** Imports: shard revision → revision. */
  readonly twins: Map<number, number>;
  /** Create revision on the shard → version offset. */
  readonly offsets: Map<number, number>;
}

class Step {
  readonly from: Bound;
  readonly to: Bound;
  readonly sources: readonly number[];
  readonly targets = new Map<number, Target>();
  private readonly source: MapRouter;
  private readonly destination: MapRouter;

  constructor(
    private readonly mover: ManualMover,
    plan: { below: string; above: string; up: boolean; cursor: Bound },
    end: Bound,
  ) {
    [this.from, this.to] = plan.up ? [plan.cursor, end] : [end, plan.cursor];
    const [source, destination] = plan.up ? [plan.above, plan.below] : [plan.below, plan.above];
    this.source = mover.router(source);
    this.destination = mover.router(destination);
    this.sources = mover.shardsBetween(source, this.from, this.to);
    for (const shard of mover.shardsBetween(destination, this.from, this.to))
      this.targets.set(shard, { twins: new Map(), offsets: new Map() });
  }

  private isMoved(key: Uint8Array): boolean {
    return isWithin(key, this.from, this.to) && this.source.shardOf(key) !== this.destination.shardOf(key);
  }

  isFrom(key: Uint8Array, shard: number): boolean {
    return this.isMoved(key) && this.source.shardOf(key) === shard;
  }

  isFor(key: Uint8Array, shard: number): boolean {
    return this.isMoved(key) && this.destination.shardOf(key) === shard;
  }

  /** Makes the destinations hold what the sources hold at the given shard revisions. True if they did already. */
  async reconcile(position: number, at: ReadonlyMap<number, number>): Promise<boolean> {
    const { mover } = this;
    let same = true;
    const copies = new Map<string, { shard: number; kv: KeyValue }>();
    for (const [shard, { twins, offsets }] of this.targets) {
      for (const kv of await mover.list(shard)) {
        if (!this.isFor(kv.key, shard)) continue;
        const seen = {
          ...kv,
          createRevision: twins.get(kv.createRevision) ?? 0,
          modRevision: twins.get(kv.modRevision) ?? 0,
          version: kv.version + (offsets.get(kv.createRevision) ?? 0),
        };
        copies.set(text(kv.key), { shard, kv: seen });
      }
    }
    const missing: KeyValue[] = [];
    for (const [shard, revision] of at) {
      await mover.seal(shard, revision);
      for (const kv of await mover.list(shard, revision)) {
        if (!this.isFrom(kv.key, shard)) continue;
        const wanted = mover.seen(shard, kv);
        const copy = copies.get(text(kv.key));
        if (copy !== undefined && shown(copy.kv) === shown(wanted)) copies.delete(text(kv.key));
        else missing.push(wanted);
      }
    }
    for (const { shard, kv } of copies.values()) {
      same = false;
      await mover.write(shard, position, [{ kind: "deleteRange", request: { key: kv.key } }]);
    }
    if (missing.length > 0) same = false;
    await this.import(position, missing);
    return same;
  }

  /** Copies keys: one transaction for the keys that share their revision and offset, but never more than two keys. */
  private async import(position: number, items: readonly KeyValue[]): Promise<void> {
    for (const isLast of [false, true]) {
      const groups = new Map<string, KeyValue[]>();
      for (const item of items) {
        const { createRevision, modRevision, version } = item;
        const isOne = createRevision === modRevision;
        if (!isLast && isOne) continue;
        const offset = isLast ? (isOne ? version - 1 : 0) : version - 2;
        const shard = this.destination.shardOf(item.key);
        const name = `${shard} ${isLast ? modRevision : createRevision} ${offset}`;
        groups.set(name, [...(groups.get(name) ?? []), item]);
      }
      for (const [name, group] of groups) {
        const [shard, revision, offset] = name.split(" ").map(Number);
        const { twins, offsets } = this.targets.get(shard)!;
        for (let at = 0; at < group.length; at += 2) {
          const ops = [];
          for (const { key, value, lease } of group.slice(at, at + 2)) {
            if (isLast) await this.mover.place(lease, shard);
            const request = isLast ? { key, value, lease } : { key };
            ops.push({ kind: "put", request });
          }
          const imported = await this.mover.write(shard, position, ops);
          twins.set(imported, revision);
          if (offset > 0) offsets.set(imported, offset);
        }
      }
    }
  }

  /** What the move says about a destination. */
  async destinationOf(shard: number): Promise<Omit<MoveDestination, "shard">> {
    const { twins, offsets } = this.targets.get(shard)!;
    const ready = await this.mover.headOf(shard);
    const items = (await this.mover.list(shard, ready)).filter(({ key }) => this.isFor(key, shard));
    const ascending = (numbers: number[]) => [...new Set(numbers)].sort((a, b) => a - b);
    const shown = ascending(
      items.flatMap(({ createRevision, modRevision }) => [createRevision, modRevision]),
    );
    const lives = ascending(items.map(({ createRevision }) => createRevision)).filter((life) =>
      offsets.has(life),
    );
    return {
      ready,
      twins: { shardRevisions: shown, revisions: shown.map((each) => twins.get(each)!) },
      offsets: { lives, offsets: lives.map((life) => offsets.get(life)!) },
    };
  }
}

const shown = ({ value, createRevision, modRevision, version, lease }: KeyValue): string =>
  [text(value), createRevision, modRevision, version, lease].join(" ");
