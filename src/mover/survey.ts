import { type Bound, compareBounds, START } from "../reshard/bound.js";
import { Boundaries } from "../reshard/boundaries.js";
import type { Plan } from "../reshard/placement.js";
import { compareBytes } from "../routing/bytes.js";
import { parseMap } from "../routing/fingerprint.js";
import { type FirstKeys, RangeReader } from "../shard/rangeReader.js";
import type { KeyValue } from "../wire/messages.js";
import type { MoverLog } from "./log.js";
import type { MoverOptions } from "./options.js";
import { PageReader, sizeOf } from "./pages.js";
import { isCompacted, type MoverShard, type Page } from "./shard.js";
import { copyLimits, type Window } from "./windows.js";

/** The next step of a plan. */
export interface NextStep {
  /** A boundary of both maps ahead of the cursor. */
  readonly end: Bound;
  /** Source → what was read of it, from the begin of the step on, possibly beyond its end. So that it need not be read again. */
  readonly read: Map<number, Window>;
}

/** Chooses the ends of steps, so that a step has about as many keys and bytes as the options allow. */
export class Survey {
  /**
   * For a sweep that goes down: keys that divide the rest of the sweep into steps, ascending. etcd lists keys in ascending
   * order only, so they come from one pass over all of it. That they age only makes steps larger or smaller.
   */
  private marks: Uint8Array[] = [];
  private plan = 0;
  /** By shard. Kept from step to step, because they know how dense the keys are. */
  private readonly readers = new Map<number, SourceReader>();

  constructor(
    private readonly log: MoverLog,
    private readonly shardOf: (index: number) => MoverShard,
    private readonly options: MoverOptions,
  ) {}

  /** Chooses the next step of the plan. `keeps`: whether to return what was read. */
  async next(plan: Plan, keeps = true): Promise<NextStep> {
    const boundaries = new Boundaries([parseMap(plan.below), parseMap(plan.above)]);
    if (plan.up) {
      const { marks, read } = await this.divide(plan, plan.cursor, null, true, keeps);
      const [mark] = marks;
      if (mark === undefined) return { end: null, read };
      const below = boundaries.below(mark);
      // A group that is larger than a step moves in one.
      return { end: compareBounds(below, plan.cursor) > 0 ? below : boundaries.above(mark), read };
    }
    if (this.plan !== plan.number) {
      this.marks = (await this.divide(plan, START, plan.cursor, false, false)).marks;
      this.plan = plan.number;
    }
    return { end: this.endBelow(plan.cursor, boundaries), read: new Map() };
  }

  /** The end of the next step of a sweep that goes down. */
  private endBelow(cursor: Bound, boundaries: Boundaries): Bound {
    for (;;) {
      const mark = this.marks.at(-1);
      if (mark === undefined) return START;
      const above = boundaries.above(mark);
      const end = compareBounds(above, cursor) < 0 ? above : boundaries.below(mark);
      if (compareBounds(end, cursor) < 0) return end;
      this.marks.pop();
    }
  }

  /** Keys in [from, to), each the first one that does not fit into a step that begins at the one before; and what was read. */
  private async divide(
    plan: Plan,
    from: Bound,
    to: Bound,
    onlyFirst: boolean,
    keeps: boolean,
  ): Promise<{ marks: Uint8Array[]; read: Map<number, Window> }> {
    const { locator } = this.log;
    const [sourceMap, destinationMap] = plan.up ? [plan.above, plan.below] : [plan.below, plan.above];
    const source = locator.router(sourceMap);
    const destination = locator.router(destinationMap);
    const { stepKeys, stepBytes } = this.options;
    const marks: Uint8Array[] = [];
    let keys = 0;
    let bytes = 0;
    const cursors = locator
      .shardsBetween(sourceMap, from, to)
      .map((index) => new Cursor(index, this.readerOf(index).begin(keeps), from, to));
    for await (const { kv, shard } of inOrder(cursors)) {
      const owner = source.shardOf(kv.key);
      if (owner !== shard || owner === destination.shardOf(kv.key)) continue;
      keys++;
      bytes += sizeOf(kv);
      if (keys === 1 || (keys <= stepKeys && bytes <= stepBytes)) continue;
      marks.push(kv.key);
      if (onlyFirst) break;
      keys = 1;
      bytes = sizeOf(kv);
    }
    const read = new Map<number, Window>();
    for (const { shard, reader } of cursors) {
      const window = reader.take();
      if (window !== undefined) read.set(shard, window);
    }
    return { marks, read };
  }

  private readerOf(index: number): SourceReader {
    let reader = this.readers.get(index);
    if (reader === undefined) {
      reader = new SourceReader(this.shardOf(index), this.options);
      this.readers.set(index, reader);
    }
    return reader;
  }
}

/** Reads a range of a source, again for each step. Keeps the first keys that it has read, as of one revision. */
class SourceReader {
  private readonly pages: PageReader;
  private readonly reader: RangeReader;
  private kept: KeyValue[] = [];
  private keptBytes = 0;
  /** The revision of what is kept; 0: nothing yet. */
  private revision = 0;
  /** All keys below are among the kept ones; undefined: all of the range. */
  private keptTo: Uint8Array | undefined;
  private isKeeping = false;

  constructor(
    shard: MoverShard,
    private readonly options: MoverOptions,
  ) {
    this.pages = new PageReader(shard, options);
    this.reader = new RangeReader((range) => this.read(range), options.pageKeys);
  }

  /** Begins a range. */
  begin(isKeeping: boolean): this {
    this.kept = [];
    this.keptBytes = 0;
    this.keptTo = undefined;
    this.revision = 0;
    this.isKeeping = isKeeping;
    return this;
  }

  /** What was read since `begin`, as far as it was kept. */
  take(): Window | undefined {
    const { kept, revision, keptTo } = this;
    this.kept = [];
    return revision > 0 ? { kvs: kept, revision, next: keptTo } : undefined;
  }

  async first(from: Uint8Array, to: Bound): Promise<FirstKeys> {
    const keys = await this.reader.first(from, to);
    if (!this.isKeeping) return keys;
    for (const kv of keys.kvs) {
      this.kept.push(kv);
      this.keptBytes += sizeOf(kv);
    }
    this.keptTo = keys.next;
    if (this.keptBytes >= copyLimits(this.options).bytes) this.isKeeping = false;
    return keys;
  }

  private async read(range: { readonly from: Uint8Array; readonly to: Bound }): Promise<Page> {
    if (!this.isKeeping) return this.pages.read(range);
    try {
      const page = await this.pages.read({ ...range, revision: this.revision });
      this.revision ||= page.revision;
      return page;
    } catch (error) {
      if (this.revision === 0 || !isCompacted(error)) throw error;
      this.isKeeping = false;
      return this.pages.read(range);
    }
  }
}

/** All keys of the cursors, in order. */
async function* inOrder(cursors: readonly Cursor[]) {
  await Promise.all(cursors.map((cursor) => cursor.fill()));
  for (;;) {
    let least: Cursor | undefined;
    for (const cursor of cursors) {
      if (cursor.head === undefined) continue;
      if (least?.head === undefined || compareBytes(cursor.head.key, least.head.key) < 0) least = cursor;
    }
    if (least?.head === undefined) return;
    yield { kv: least.head, shard: least.shard };
    await least.pass();
  }
}

/** Reads the keys of a range on one shard one by one. */
class Cursor {
  private kvs: readonly KeyValue[] = [];
  private at = 0;
  private next: Uint8Array | undefined;

  constructor(
    readonly shard: number,
    readonly reader: SourceReader,
    from: Bound,
    private readonly to: Bound,
  ) {
    this.next = from ?? undefined;
  }

  /** The next key; undefined at the end. */
  get head(): KeyValue | undefined {
    return this.kvs[this.at];
  }

  async pass(): Promise<void> {
    this.at++;
    await this.fill();
  }

  /** Reads until there is a key, if none is left. */
  async fill(): Promise<void> {
    while (this.at === this.kvs.length && this.next !== undefined) {
      const { kvs, next }: FirstKeys = await this.reader.first(this.next, this.to);
      this.kvs = kvs;
      this.at = 0;
      this.next = next;
    }
  }
}
