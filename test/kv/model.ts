import type { Run, TimelineView } from "../../src/timeline/view.js";
import {
  EMPTY,
  type KeyValue,
  RangeRequest,
  type RangeResponse,
  SortOrder,
  SortTarget,
} from "../../src/wire/messages.js";

/** Seeded pseudo-random numbers (mulberry32). `SEED` in the environment replays a run. */
export class Random {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  chance(p: number): boolean {
    return this.next() < p;
  }
}

export function seed(): number {
  const given = process.env.SEED;
  const value = given === undefined ? (Math.random() * 2 ** 31) | 0 : Number(given);
  console.log(`SEED=${value}`);
  return value;
}

/**
 * A timeline given by its order alone: `order[n]` is the shard of revision n + 2. Every shard starts at revision 1, as an
 * empty etcd does. Written as plainly as possible, as a reference.
 */
export class PlainView implements TimelineView {
  compactRevision = 0;

  constructor(
    readonly shardCount: number,
    readonly order: readonly number[],
  ) {}

  get head(): number {
    return this.order.length + 1;
  }

  cut(shard: number): number {
    return this.cutAt(this.head, shard);
  }

  cutAt(revision: number, shard: number): number {
    if (revision <= 0) return 0;
    return 1 + this.order.slice(0, revision - 1).filter((one) => one === shard).length;
  }

  lastAt(revision: number, shard: number): number {
    return this.cutAt(revision, shard);
  }

  toRevision(shard: number, shardRevision: number): number {
    if (shardRevision <= 1) return shardRevision;
    let seen = 1;
    const index = this.order.findIndex((one) => one === shard && ++seen === shardRevision);
    if (index < 0) throw new Error(`shard ${shard} has no revision ${shardRevision}`);
    return index + 2;
  }

  toShardRevision(revision: number, shard: number): number | undefined {
    return this.order[revision - 2] === shard ? this.cutAt(revision, shard) : undefined;
  }

  shardRevisionsOf(revision: number, shard: number): number[] {
    return this.toShardRevision(revision, shard) === undefined ? [] : [this.cutAt(revision, shard)];
  }

  readRevision(shard: number, shardRevision: number): number {
    let revision = this.head;
    while (this.cutAt(revision, shard) > shardRevision) revision--;
    return revision;
  }

  runAt(_revision: number): Run {
    throw new Error("not used here");
  }
}

/** A write of one key at a revision; a deletion where the value is undefined. */
export interface Change {
  readonly revision: number;
  readonly key: string;
  readonly value: string | undefined;
  readonly lease: bigint;
}

export const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");
export const text = (data: Uint8Array): string => Buffer.from(data).toString("latin1");

/** The keys of a store at a revision, in key order. */
export function stateAt(changes: readonly Change[], revision: number): KeyValue[] {
  const state = new Map<string, KeyValue>();
  for (const change of changes) {
    if (change.revision > revision) break;
    if (change.value === undefined) {
      state.delete(change.key);
      continue;
    }
    const before = state.get(change.key);
    state.set(change.key, {
      key: bytes(change.key),
      value: bytes(change.value),
      createRevision: before?.createRevision ?? change.revision,
      modRevision: change.revision,
      version: (before?.version ?? 0) + 1,
      lease: change.lease,
    });
  }
  return [...state.values()].sort((a, b) => (text(a.key) < text(b.key) ? -1 : 1));
}

/** etcd's Range over a store whose newest revision is `head`, by its documentation and in its order of steps. */
export function rangeOf(
  changes: readonly Change[],
  head: number,
  given: Partial<RangeRequest>,
): RangeResponse {
  const request: RangeRequest = { ...RangeRequest.decode(EMPTY), ...given };
  const from = text(request.key);
  const end = text(request.rangeEnd);
  const inRange = (key: string) =>
    end === "" ? key === from : end === "\0" ? key >= from : key >= from && key < end;
  const state = stateAt(changes, request.revision > 0 ? request.revision : head);
  const all = state.filter((kv) => inRange(text(kv.key)));
  if (request.countOnly) return { kvs: [], more: false, count: all.length };

  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision, sortTarget, limit } = request;
  const bounds = [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision];
  const takesAll = request.sortOrder !== SortOrder.NONE || bounds.some((bound) => bound !== 0);
  let kvs = takesAll || limit <= 0 ? all : all.slice(0, limit + 1);
  if (maxModRevision !== 0) kvs = kvs.filter((kv) => kv.modRevision <= maxModRevision);
  if (minModRevision !== 0) kvs = kvs.filter((kv) => kv.modRevision >= minModRevision);
  if (maxCreateRevision !== 0) kvs = kvs.filter((kv) => kv.createRevision <= maxCreateRevision);
  if (minCreateRevision !== 0) kvs = kvs.filter((kv) => kv.createRevision >= minCreateRevision);
  kvs = [...kvs];
  if (request.sortOrder !== SortOrder.NONE || sortTarget !== SortTarget.KEY) {
    const sign = request.sortOrder === SortOrder.DESCEND ? -1 : 1;
    const side = (kv: KeyValue): number | string =>
      sortTarget === SortTarget.KEY
        ? text(kv.key)
        : sortTarget === SortTarget.VERSION
          ? kv.version
          : sortTarget === SortTarget.CREATE
            ? kv.createRevision
            : sortTarget === SortTarget.MOD
              ? kv.modRevision
              : text(kv.value);
    kvs.sort((a, b) => (side(a) < side(b) ? -sign : side(a) > side(b) ? sign : 0));
  }
  const more = limit > 0 && kvs.length > limit;
  if (more) kvs = kvs.slice(0, limit);
  if (request.keysOnly) kvs = kvs.map((kv) => ({ ...kv, value: EMPTY }));
  return { kvs, more, count: all.length };
}

export interface World {
  readonly view: PlainView;
  /** The whole store, in clients' revisions. */
  readonly whole: Change[];
  /** Each shard's store, in its own revisions. */
  readonly shards: Change[][];
  readonly shardOf: (key: string) => number;
}

export const KEYS = ["a", "b", "ba", "c", "d", "dd", "e", "f", "g", "h\xff"];

/** A store of a few keys with a random history over `shardCount` shards; some revisions write several keys. */
export function randomWorld(random: Random, shardCount: number, revisions: number): World {
  const placement = new Map(KEYS.map((key) => [key, random.below(shardCount)]));
  const shardOf = (key: string) => placement.get(key) as number;
  const order: number[] = [];
  const whole: Change[] = [];
  const shards: Change[][] = Array.from({ length: shardCount }, () => []);
  const reached = new Array<number>(shardCount).fill(1);
  const alive = new Set<string>();
  for (let revision = 2; revision < revisions + 2; revision++) {
    const first = random.pick(KEYS);
    const shard = shardOf(first);
    const also = KEYS.filter((key) => key !== first && shardOf(key) === shard && random.chance(0.2));
    order.push(shard);
    reached[shard]++;
    for (const key of [first, ...also]) {
      const remove = alive.has(key) && random.chance(0.3);
      if (remove) alive.delete(key);
      else alive.add(key);
      const value = remove ? undefined : random.pick(["", "x", "y", "zz"]);
      const lease = remove ? 0n : BigInt(random.below(3));
      whole.push({ revision, key, value, lease });
      shards[shard].push({ revision: reached[shard], key, value, lease });
    }
  }
  return { view: new PlainView(shardCount, order), whole, shards, shardOf };
}
