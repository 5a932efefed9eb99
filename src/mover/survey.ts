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
import type { MoverShard } from "./shard.js";

/** Chooses the ends of steps, so that a step has about as many keys and bytes as the options allow. */
export class Survey {
  /**
   * For a sweep that goes down: keys that divide the rest of the sweep into steps, ascending. etcd lists keys in ascending
   * order only, so they come from one pass over all of it. That they age only makes steps larger or smaller.
   */
  private marks: Uint8Array[] = [];
  private plan = 0;
  /** By shard. Kept from step to step, because they know how dense the keys are. */
  private readonly readers = new Map<number, RangeReader>();

  constructor(
    private readonly log: MoverLog,
    private readonly shardOf: (index: number) => MoverShard,
    private readonly options: MoverOptions,
  ) {}

  /** The end of the next step of the plan: a boundary of both maps ahead of the cursor. */
  async endOf(plan: Plan): Promise<Bound> {
    const boundaries = new Boundaries([parseMap(plan.below), parseMap(plan.above)]);
    if (plan.up) {
      const [mark] = await this.divide(plan, plan.cursor, null, true);
      if (mark === undefined) return null;
      const below = boundaries.below(mark);
      // A group that is larger than a step moves in one.
      return compareBounds(below, plan.cursor) > 0 ? below : boundaries.above(mark);
    }
    if (this.plan !== plan.number) {
      this.marks = await this.divide(plan, START, plan.cursor, false);
      this.plan = plan.number;
    }
    for (;;) {
      const mark = this.marks.at(-1);
      if (mark === undefined) return START;
      const above = boundaries.above(mark);
      const end = compareBounds(above, plan.cursor) < 0 ? above : boundaries.below(mark);
      if (compareBounds(end, plan.cursor) < 0) return end;
      this.marks.pop();
    }
  }

  /** Keys in [from, to), each the first one that does not fit into a step that begins at the one before. */
  private async divide(plan: Plan, from: Bound, to: Bound, onlyFirst: boolean): Promise<Uint8Array[]> {
    const { locator } = this.log;
    const [sourceMap, destinationMap] = plan.up ? [plan.above, plan.below] : [plan.below, plan.above];
    const source = locator.router(sourceMap);
    const destination = locator.router(destinationMap);
    const { stepKeys, stepBytes } = this.options;
    const marks: Uint8Array[] = [];
    let keys = 0;
    let bytes = 0;
    for await (const { kv, shard } of this.scan(locator.shardsBetween(sourceMap, from, to), from, to)) {
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
    return marks;
  }

  private readerOf(index: number): RangeReader {
    let reader = this.readers.get(index);
    if (reader === undefined) {
      const pages = new PageReader(this.shardOf(index), this.options);
      reader = new RangeReader((range) => pages.read(range), this.options.pageKeys);
      this.readers.set(index, reader);
    }
    return reader;
  }

  /** All keys of the range on these shards, in order. */
  private async *scan(shards: readonly number[], from: Bound, to: Bound) {
    const cursors = await Promise.all(
      shards.map(async (index) => {
        const cursor = new Cursor(index, this.readerOf(index), from, to);
        await cursor.fill();
        return cursor;
      }),
    );
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
}

/** Reads the keys of a range on one shard one by one. */
class Cursor {
  private kvs: readonly KeyValue[] = [];
  private at = 0;
  private next: Uint8Array | undefined;

  constructor(
    readonly shard: number,
    private readonly reader: RangeReader,
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
