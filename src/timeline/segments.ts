// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import type { Run } from "./view.js";

const INITIAL_CAPACITY = 64;
const MAX_LENGTH = 0xffff_ffff;

/**
 * The segment table: the shard revisions that revisions came from, in revision order.
 *
 * Typed arrays, 25 bytes per segment: first revision (8), first shard revision (8), length (4), shard (1), and index in
 * the shard's list (4). Lookups are one binary search in either direction: within a shard, revisions and shard revisions
 * rise together, so one list per shard serves both.
 */
export class SegmentTable {
  private starts = new Float64Array(INITIAL_CAPACITY);
  private shardStarts = new Float64Array(INITIAL_CAPACITY);
  private lengths = new Uint32Array(INITIAL_CAPACITY);
  private shards = new Uint8Array(INITIAL_CAPACITY);
  private used = 0;
  private readonly perShard: IndexList[];

  constructor(shardCount: number) {
    this.perShard = Array.from({ length: shardCount }, () => new IndexList());
  }

  get shardCount(): number {
    return this.perShard.length;
  }

  /** Makes room for one more shard. */
  addShard(): void {
    this.perShard.push(new IndexList());
  }

  /** Number of segments. */
  get count(): number {
    return this.used;
  }

  /** Bytes held by the table, spare capacity included. */
  get bytes(): number {
    const lists = this.perShard.reduce((sum, list) => sum + list.items.byteLength, 0);
    return (
      this.starts.byteLength +
      this.shardStarts.byteLength +
      this.lengths.byteLength +
      this.shards.byteLength +
      lists
    );
  }

  /** Appends `length` revisions from `revision` on. They must be above all others of the table and of the shard. */
  append(revision: number, shard: number, shardRevision: number, length: number): void {
    let rest = length;
    let at = revision;
    let shardAt = shardRevision;
    const last = this.used - 1;
    if (
      last >= 0 &&
      this.shards[last]! === shard &&
      this.starts[last]! + this.lengths[last]! === at &&
      this.shardStarts[last]! + this.lengths[last]! === shardAt
    ) {
      const room = Math.min(rest, MAX_LENGTH - this.lengths[last]!);
      this.lengths[last]! += room;
      rest -= room;
      at += room;
      shardAt += room;
    }
    while (rest > 0) {
      const piece = Math.min(rest, MAX_LENGTH);
      this.push(at, shard, shardAt, piece);
      rest -= piece;
      at += piece;
      shardAt += piece;
    }
  }

  /** The part of a segment from `revision` on; undefined when `revision` is in no segment. */
  runAt(revision: number): Run | undefined {
    const index = this.indexOf(revision);
    if (index < 0) return undefined;
    const offset = revision - this.starts[index]!;
    if (offset >= this.lengths[index]!) return undefined;
    return {
      revision,
      shard: this.shards[index]!,
      shardRevision: this.shardStarts[index]! + offset,
      length: this.lengths[index]! - offset,
    };
  }

  /** Segment number `index` (0 <= index < count). */
  at(index: number): Run {
    return {
      revision: this.starts[index]!,
      shard: this.shards[index]!,
      shardRevision: this.shardStarts[index]!,
      length: this.lengths[index]!,
    };
  }

  /** The largest shard revision of `shard` whose revision is at or below `revision`; undefined when there is none. */
  shardRevisionAt(revision: number, shard: number): number | undefined {
    const index = this.lastOfShard(shard, this.starts, revision);
    if (index < 0) return undefined;
    const offset = Math.min(revision - this.starts[index]!, this.lengths[index]! - 1);
    return this.shardStarts[index]! + offset;
  }

  /** The smallest shard revision of `shard` whose revision is above `revision`; undefined when there is none. */
  shardRevisionAfter(revision: number, shard: number): number | undefined {
    const list = this.perShard[shard]!;
    const place = this.placeOf(list, this.starts, revision);
    if (place >= 0) {
      const index = list.items[place]!;
      const offset = revision + 1 - this.starts[index]!;
      if (offset < this.lengths[index]!) return this.shardStarts[index]! + offset;
    }
    return place + 1 < list.used ? this.shardStarts[list.items[place + 1]!]! : undefined;
  }

  /**
   * The revision of the newest shard revision of `shard` at or below `shardRevision`; undefined when there
   * is none. Exact for a shard revision that has a revision of its own.
   */
  revisionAt(shard: number, shardRevision: number): number | undefined {
    const index = this.lastOfShard(shard, this.shardStarts, shardRevision);
    if (index < 0) return undefined;
    const offset = Math.min(shardRevision - this.shardStarts[index]!, this.lengths[index]! - 1);
    return this.starts[index]! + offset;
  }

  /** The revision of the oldest shard revision of `shard` above `shardRevision`; undefined when there is none. */
  revisionAfter(shard: number, shardRevision: number): number | undefined {
    const list = this.perShard[shard]!;
    const place = this.placeOf(list, this.shardStarts, shardRevision);
    if (place >= 0) {
      const index = list.items[place]!;
      const offset = shardRevision + 1 - this.shardStarts[index]!;
      if (offset < this.lengths[index]!) return this.starts[index]! + offset;
    }
    return place + 1 < list.used ? this.starts[list.items[place + 1]!]! : undefined;
  }

  private push(revision: number, shard: number, shardRevision: number, length: number): void {
    if (this.used === this.starts.length) this.grow();
    const index = this.used++;
    this.starts[index] = revision;
    this.shardStarts[index] = shardRevision;
    this.lengths[index] = length;
    this.shards[index] = shard;
    this.perShard[shard]!.push(index);
  }

  private grow(): void {
    // By half instead of doubling: the table can be the largest object of a proxy.
    const capacity = Math.ceil(this.starts.length * 1.5);
    const starts = new Float64Array(capacity);
    starts.set(this.starts);
    const shardStarts = new Float64Array(capacity);
    shardStarts.set(this.shardStarts);
    const lengths = new Uint32Array(capacity);
    lengths.set(this.lengths);
    const shards = new Uint8Array(capacity);
    shards.set(this.shards);
    this.starts = starts;
    this.shardStarts = shardStarts;
    this.lengths = lengths;
    this.shards = shards;
  }

  /** Index of the last segment that starts at or below `revision`; -1 when there is none. */
  private indexOf(revision: number): number {
    let low = 0;
    let high = this.used - 1;
    // Nearly all lookups are for recent revisions.
    if (high >= 0 && this.starts[high]! <= revision) return high;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (this.starts[middle]! <= revision) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }

  /** Index of the shard's last segment whose key (start or shard start) is at or below `value`; -1 when there is none. */
  private lastOfShard(shard: number, keys: Float64Array, value: number): number {
    const list = this.perShard[shard]!;
    const place = this.placeOf(list, keys, value);
    return place < 0 ? -1 : list.items[place]!;
  }

  /** Place, in the shard's list, of its last segment whose key (start or shard start) is at or below `value`; or -1. */
  private placeOf(list: IndexList, keys: Float64Array, value: number): number {
    let low = 0;
    let high = list.used - 1;
    if (high >= 0 && keys[list.items[high]!]! <= value) return high;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (keys[list.items[middle]!]! <= value) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }
}

class IndexList {
  items = new Uint32Array(INITIAL_CAPACITY);
  used = 0;

  push(index: number): void {
    if (this.used === this.items.length) {
      const items = new Uint32Array(Math.ceil(this.items.length * 1.5));
      items.set(this.items);
      this.items = items;
    }
    this.items[this.used++] = index;
  }
}
