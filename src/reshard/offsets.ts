/** By how much the `version` of imported keys falls short of what clients know. */
export interface Offsets {
  /** Create revisions on the shard, ascending: each of them is one life of one or more keys with the same offset. */
  readonly lives: readonly number[];
  /** What to add, above 0. */
  readonly offsets: readonly number[];
}

/**
 * The version offsets of all shards. A key that is copied gets fewer puts than it had, and from then on its version is off by a
 * constant until it is deleted. 16 bytes per offset; lives without one have none here.
 */
export class OffsetTable {
  private readonly shards = new Map<number, { lives: Float64Array; offsets: Float64Array }>();

  /** Number of offsets. */
  get count(): number {
    let count = 0;
    for (const { lives } of this.shards.values()) count += lives.length;
    return count;
  }

  /** Bytes that the offsets take. */
  get bytes(): number {
    let bytes = 0;
    for (const { lives, offsets } of this.shards.values()) bytes += lives.byteLength + offsets.byteLength;
    return bytes;
  }

  /** Shards that have offsets, ascending. */
  get shardIndices(): number[] {
    return [...this.shards.keys()].sort((a, b) => a - b);
  }

  /** Adds the offsets of a move. Their lives lie above all that the shard has here; throws a RangeError otherwise. */
  add(shard: number, { lives, offsets }: Offsets): void {
    if (lives.length === 0) return;
    const known = this.shards.get(shard);
    if (known !== undefined && known.lives[known.lives.length - 1] >= lives[0]) {
      throw new RangeError("version offsets must be added in the order of their lives");
    }
    this.shards.set(shard, {
      lives: Float64Array.from([...(known?.lives ?? []), ...lives]),
      offsets: Float64Array.from([...(known?.offsets ?? []), ...offsets]),
    });
  }

  /** What to add to the version of a key of `shard` that was created at `life`, a shard revision. */
  of(shard: number, life: number): number {
    const known = this.shards.get(shard);
    if (known === undefined) return 0;
    let low = 0;
    let high = known.lives.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (known.lives[middle] === life) return known.offsets[middle];
      if (known.lives[middle] < life) low = middle + 1;
      else high = middle - 1;
    }
    return 0;
  }

  /** All offsets of a shard. */
  list(shard: number): Offsets {
    const known = this.shards.get(shard);
    return { lives: [...(known?.lives ?? [])], offsets: [...(known?.offsets ?? [])] };
  }

  /** Drops the offsets of lives up to `until` (a shard revision) that `live` does not hold; see `TwinTable.prune`. */
  prune(shard: number, until: number, live: ReadonlySet<number>): void {
    const { lives, offsets } = this.list(shard);
    const kept = [...lives.keys()].filter((i) => lives[i] > until || live.has(lives[i]));
    this.shards.delete(shard);
    this.add(shard, { lives: kept.map((i) => lives[i]), offsets: kept.map((i) => offsets[i]) });
  }
}
