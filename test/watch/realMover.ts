import assert from "node:assert/strict";
import { type Bound, isWithin } from "../../src/reshard/bound.js";
import type { Change } from "../../src/reshard/change.js";
import type { Timeline } from "../../src/timeline/view.js";
import type { KeyValue } from "../../src/wire/messages.js";
import type { Ask } from "../kv/pair.js";
import { text } from "./support.js";

/** Stages of a step: keys copied; step frozen; sources stopped; destinations ready; moved; sources cleaned. */
export type Stage = "copied" | "frozen" | "stopped" | "ready" | "moved" | "cleaned";

interface Imports {
  /** Shard revision → revision. */
  readonly twins: Map<number, number>;
  /** Create revision on the shard → version offset. */
  readonly offsets: Map<number, number>;
  /** Key → its mod revision on the source. */
  readonly copied: Map<string, number>;
}

const EVERYTHING = { key: Uint8Array.of(1), rangeEnd: Uint8Array.of(0) };
/** A reserved key, written to make a shard revision for a stop. */
const STOP = Buffer.from("\0test/stop");

/** Moves keys on real etcds as the protocol says, for tests without writers that compete. So it does without gen. */
export class RealMover {
  private name = 0;

  constructor(
    private readonly timeline: Timeline,
    private readonly shards: readonly Ask[],
  ) {}

  /** Starts a plan to the map with the text `map`. */
  async plan(map: string): Promise<void> {
    await this.change({ kind: "plan", after: this.timeline.placement.plans, map, shards: [] });
    this.name = await this.change({ kind: "claim" });
  }

  /** Moves the step up to `to`. Keys in `ended` end with the move. */
  async step(
    to: Bound,
    hook: (stage: Stage) => Promise<void>,
    ended: ReadonlySet<string> = new Set(),
  ): Promise<void> {
    const { locator, placement } = this.timeline;
    const { number, cursor: from, above, below } = placement.plan!;
    const [source, destination] = [locator.router(above), locator.router(below)];
    const isMoved = (key: Uint8Array) =>
      isWithin(key, from, to) && source.shardOf(key) !== destination.shardOf(key);
    const imports = this.shards.map(
      (): Imports => ({ twins: new Map(), offsets: new Map(), copied: new Map() }),
    );
    const copy = async () => {
      for (const shard of this.shards.keys()) {
        for (const kv of await this.list(shard)) {
          if (!isMoved(kv.key) || source.shardOf(kv.key) !== shard || ended.has(text(kv.key))) continue;
          await this.copy(kv, shard, destination.shardOf(kv.key), imports);
        }
      }
    };
    await copy();
    await hook("copied");
    const freeze = await this.change({ kind: "freeze", mover: this.name, plan: number, cursor: from, to });
    await hook("frozen");
    const stops = new Map<number, number>();
    for (const shard of this.shards.keys()) stops.set(shard, await this.mark(shard));
    await copy();
    await hook("stopped");
    const destinations = [];
    for (const [shard, { twins, offsets }] of imports.entries()) {
      const ready = await this.mark(shard);
      const known = [...twins].sort(([a], [b]) => a - b);
      const lives = [...offsets].sort(([a], [b]) => a - b);
      destinations.push({
        shard,
        ready,
        twins: { shardRevisions: known.map(([at]) => at), revisions: known.map(([, revision]) => revision) },
        offsets: { lives: lives.map(([life]) => life), offsets: lives.map(([, offset]) => offset) },
      });
    }
    await hook("ready");
    await this.change(
      {
        kind: "move",
        mover: this.name,
        freeze,
        sources: [...stops].map(([shard, stop]) => ({ shard, stop })),
        destinations,
        ended: [...ended].map((key) => Buffer.from(key, "latin1")),
      },
      new Map(destinations.map(({ shard, ready }) => [shard, ready])),
    );
    await hook("moved");
    for (const shard of this.shards.keys()) await this.clean(shard);
    await hook("cleaned");
  }

  /** Freezes up to `to`, calls `hook`, and thaws. */
  async freezeOnly(to: Bound, hook: () => Promise<void>): Promise<void> {
    const { number, cursor } = this.timeline.placement.plan!;
    const freeze = await this.change({ kind: "freeze", mover: this.name, plan: number, cursor, to });
    await hook();
    await this.change({ kind: "thaw", mover: this.name, freeze });
  }

  async finish(): Promise<void> {
    const seals = new Map<number, number>();
    for (const shard of this.shards.keys()) {
      await this.clean(shard);
      seals.set(shard, await this.mark(shard));
    }
    await this.change({ kind: "done", plan: this.timeline.placement.plan!.number }, seals);
  }

  private async change(change: Change, seals?: ReadonlyMap<number, number>): Promise<number> {
    const position = await this.timeline.proposeChange(change, seals);
    assert.ok(position !== undefined, `the change is not valid: ${change.kind}`);
    return position;
  }

  private async list(shard: number): Promise<readonly KeyValue[]> {
    return (await this.shards[shard]!("range", EVERYTHING)).kvs;
  }

  /** Writes a reserved key. Returns the shard revision. */
  private async mark(shard: number): Promise<number> {
    return (await this.shards[shard]!("put", { key: STOP })).header!.revision;
  }

  private async clean(shard: number): Promise<void> {
    for (const { key } of await this.list(shard)) {
      if (this.timeline.locator.shardOf(key) !== shard) await this.shards[shard]!("deleteRange", { key });
    }
  }

  /** Copies a key, unless it has not changed since the last copy. */
  private async copy(kv: KeyValue, source: number, target: number, all: readonly Imports[]): Promise<void> {
    const { key, value, lease, createRevision, modRevision, version } = kv;
    const { twins, offsets, copied } = all[target]!;
    if (copied.get(text(key)) === modRevision) return;
    copied.set(text(key), modRevision);
    await this.timeline.seal(source, modRevision, true);
    const shard = this.shards[target]!;
    await shard("deleteRange", { key });
    const put = async (request: object, revision: number, offset: number) => {
      const at = (await shard("put", { key, ...request })).header!.revision;
      twins.set(at, this.timeline.toRevision(source, revision));
      if (offset > 0) offsets.set(at, offset);
    };
    const seen = version + this.timeline.versionOffset(source, createRevision);
    if (createRevision !== modRevision) await put({}, createRevision, seen - 2);
    await put({ value, lease }, modRevision, createRevision === modRevision ? seen - 1 : 0);
  }
}
