import type { PlanShard } from "../../../src/reshard/change.js";
import { type KeyRange, Locator } from "../../../src/reshard/locator.js";
import { Maps } from "../../../src/reshard/maps.js";
import { firstPlacement } from "../../../src/reshard/placement.js";
import type { Hasher } from "../../../src/routing/hash.js";
import { Fold } from "../../../src/timeline/fold.js";
import { StoreFold } from "../../../src/timeline/storeFold.js";
import { Random, Scheduler } from "../../timeline/sim/scheduler.js";
import { beginLog } from "./log.js";
import type { SimProxy } from "./proxy.js";
import type { Item } from "./shard.js";
import { SimShard } from "./shard.js";

export const GEN = "\0gen";

/** Names of the protocol's rules that a test removes. */
export type Broken = ReadonlySet<string>;

/**
 * Stages of a step: end chosen; gen raised on the destinations; about to write to a destination, many times; sources stopped;
 * destinations ready; about to delete from a source, many times; moved and cleaned.
 */
export type Stage = "chosen" | "begun" | "importing" | "stopped" | "ready" | "cleaning" | "moved";

/** A directed schedule's view of a step. */
export interface StepView {
  readonly proxy: SimProxy;
  isInStep(key: string): boolean;
  sourceOf(key: string): number;
  targetOf(key: string): number;
}

/** A key as clients see it, with the store's revisions. */
export interface Seen {
  readonly key: string;
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
  readonly lease: number;
}

export interface SeenEvent {
  readonly revision: number;
  readonly key: string;
  /** Undefined: deleted. */
  readonly item: Seen | undefined;
  readonly before: Seen | undefined;
}

/** A client's call and its result. */
export interface Observation {
  readonly what: string;
  /** By `World.tick`. */
  readonly begin: number;
  readonly end: number;
  /** Revision of the response header. */
  readonly revision: number;
  /** True when the call wrote that revision. */
  readonly wrote: boolean;
  /** True when the call is linearizable. False for reads at an old revision. */
  readonly fresh: boolean;
  /** The range that was read, and its keys at `revision`. */
  readonly read?: { readonly from: string; readonly to: string; readonly items: readonly Seen[] };
  /** The key before the write, for calls that return it. */
  readonly before?: { readonly key: string; readonly item: Seen | undefined };
  /** A lease that must have no keys at `revision`. */
  readonly released?: number;
  /** The compare of a transaction, and its result. */
  readonly compared?: { readonly key: string; readonly mod: number; readonly succeeded: boolean };
}

/** One client's watch, across all proxies that served it. */
export interface WatchRecord {
  readonly from: string;
  readonly to: string;
  readonly start: number;
  readonly events: SeenEvent[];
  /** The revision up to which the client has all events. */
  progress: number;
  /** True for a client that also wants the previous keys of events. Watches of the simulation always bring them. */
  readonly prevKv?: boolean;
  /** True for a client that reads slowly. */
  readonly slow?: boolean;
  /** Ranges of revisions [from, to] that compactions took from the watch. */
  readonly gaps: { readonly from: number; readonly to: number }[];
}

export const bytesOf = (() => {
  const known = new Map<string, Uint8Array>();
  return (key: string): Uint8Array => {
    let bytes = known.get(key);
    if (bytes === undefined) {
      bytes = new Uint8Array(Buffer.from(key, "latin1"));
      known.set(key, bytes);
    }
    return bytes;
  };
})();
export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** The end of the single key's range. */
export const after = (key: string): string => `${key}\0`;
export const rangeOf = (from: string, to: string): KeyRange => ({
  key: bytesOf(from),
  end: to === after(from) ? NONE : bytesOf(to),
});
const NONE = new Uint8Array(0);

/** The clusters, clock and random source of one run, and what clients saw in it. */
export class World {
  readonly random: Random;
  readonly scheduler = new Scheduler();
  /** By the store's shard indices. */
  readonly shards: SimShard[] = [];
  readonly dedicated = new SimShard("host");
  readonly observations: Observation[] = [];
  readonly watches: WatchRecord[] = [];
  /** Number of puts that have carried their entry. */
  carried = 0;
  /** Leases that have ended on some shard. */
  readonly ended = new Set<number>();
  /** Operations that delete ranges. */
  readonly ranges = new Set<number>();
  /** Lease → tick of the response to its revocation. */
  readonly revoked = new Map<number, number>();
  readonly firstHost: number;
  /** The host at which a starting proxy reads the log: one that it had, not necessarily the newest. */
  lastHost: number;
  /** The newest compaction. */
  compacted = 0;
  failed: unknown;
  /** The directed schedule. Movers call it at each stage of a step. */
  hook: ((stage: Stage, step: StepView) => Promise<void>) | undefined;
  private operations = 0;
  private ticks = 0;
  private locators = new WeakMap<StoreFold, Locator>();
  readonly maps: Maps;
  readonly begun: { cut: number[]; map: string; shards: PlanShard[] };

  constructor(
    seed: number,
    hasher: Hasher,
    readonly broken: Broken,
    map: string,
    names: readonly string[],
    count: number,
    host: number,
    keys: readonly string[],
  ) {
    this.random = new Random(seed);
    this.maps = new Maps(hasher);
    this.firstHost = host;
    for (const name of names) this.addShard(name);
    const shards = names
      .slice(0, count)
      .map((name, index) => planShard(index, name, this.shards[index].revision));
    for (const key of keys) {
      const shard = this.shards[this.maps.router(map, shards).shardOf(bytesOf(key))];
      const operation = this.nextOperation();
      shard.txn(
        { guard: [], success: [{ kind: "put", key, value: `v${operation}` }] },
        { by: "client", operation },
      );
    }
    this.begun = { cut: shards.map(({ index }) => this.shards[index].revision), map, shards };
    this.lastHost = host;
    beginLog(this.cluster(host), this.firstFold().store);
  }

  /** The fold of the new store. */
  firstFold(): StoreFold {
    const { cut, map, shards } = this.begun;
    const fold = Fold.genesis(cut.length, this.firstHost);
    for (const [shard, reached] of cut.entries()) fold.begin(shard, reached, []);
    return StoreFold.of(this.firstHost, {
      timeline: fold.snapshot(),
      placement: firstPlacement(map, shards),
      positionOffset: 0,
    });
  }

  /** Adds a cluster with the key gen. */
  addShard(name: string): SimShard {
    const shard = new SimShard(name);
    shard.txn(
      { guard: [], success: [{ kind: "put", key: GEN, value: `${"0".repeat(16)} {}` }] },
      { by: "log" },
    );
    this.shards.push(shard);
    return shard;
  }

  cluster(host: number): SimShard {
    return host < 0 ? this.dedicated : this.shards[host];
  }

  breaks(rule: string): boolean {
    return this.broken.has(rule);
  }

  nextOperation(): number {
    return ++this.operations;
  }

  /** A logical time, different at each call. */
  tick(): number {
    return ++this.ticks;
  }

  locator(fold: StoreFold): Locator {
    let locator = this.locators.get(fold);
    if (locator === undefined) {
      locator = new Locator(fold.placement, this.maps, fold);
      this.locators.set(fold, locator);
    }
    return locator;
  }

  fail(reason: unknown): void {
    this.failed ??= reason;
  }

  guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Runs work in the background. A rejection fails the run. */
  spawn(work: Promise<unknown>): void {
    work.catch((error) => this.fail(error));
  }
}

export const planShard = (index: number, name: string, cut: number): PlanShard => ({
  index,
  name,
  endpoints: [],
  clusterId: String(index),
  cut,
});

/** Converts a shard's key to the store's revisions. They must be sealed. */
export function translate(fold: StoreFold, shard: number, item: Item): Seen {
  return {
    key: item.key,
    value: item.value,
    create: fold.toRevision(shard, item.create),
    mod: fold.toRevision(shard, item.mod),
    version: item.version + fold.store.placement.offsets.of(shard, item.create),
    lease: item.lease,
  };
}
