// Indices below are in range by construction; `!` keeps the hot lookups free of checks.

/** How much the `version` of imported keys falls short of the version that clients see. */
export interface Offsets {
  /** Create revisions on the shard, ascending. Each is one life (creation to deletion) of one or more keys. */
  readonly lives: readonly number[];
  /** The number to add for each life, above 0. */
  readonly offsets: readonly number[];
}

/**
 * The version offsets of all shards. A copied key gets fewer puts than the original had, so its version is off by a
 * constant until it is deleted. An offset takes 16 bytes; a life without an offset takes none.
 */
export class OffsetTable {
  private readonly shards = new Map<number, { lives: Float64Array; offsets: Float64Array }>();

  /** Number of offsets. */
  get count(): number {
    let count = 0;
    for (const { lives } of this.shards.values()) count += lives.length;
    return count;
  }

  /** Memory of the offsets, in bytes. */
  get bytes(): number {
    let bytes = 0;
    for (const { lives, offsets } of this.shards.values()) bytes += lives.byteLength + offsets.byteLength;
    return bytes;
  }

  /** Shards that have offsets, ascending. */
  get shardIndices(): number[] {
    return [...this.shards.keys()].sort((a, b) => a - b);
  }

  /** Adds the offsets of a move. Throws a RangeError when a life is not above all lives that the shard has here. */
  add(shard: number, { lives, offsets }: Offsets): void {
    const first = lives.at(0);
    if (first === undefined) return;
    const known = this.shards.get(shard);
    const last = known?.lives.at(-1);
    if (last !== undefined && last >= first) {
      throw new RangeError("version offsets must be added in ascending order of create revision");
    }
    this.shards.set(shard, {
      lives: joined(known?.lives, lives),
      offsets: joined(known?.offsets, offsets),
    });
  }

  /** The number to add to the version of a key of `shard` that was created at `life`, a shard revision. */
  of(shard: number, life: number): number {
    const known = this.shards.get(shard);
    if (known === undefined) return 0;
    let low = 0;
    let high = known.lives.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (known.lives[middle] === life) return known.offsets[middle]!;
      if (known.lives[middle]! < life) low = middle + 1;
      else high = middle - 1;
    }
    return 0;
  }

  /** The offsets of a shard, from number `from` up to number `to`, not included; by default all. */
  list(shard: number, from = 0, to = Number.POSITIVE_INFINITY): Offsets {
    const known = this.shards.get(shard);
    return {
      lives: [...(known?.lives.subarray(from, to) ?? [])],
      offsets: [...(known?.offsets.subarray(from, to) ?? [])],
    };
  }

  /** A table without the offsets of each shard that `prune` would drop. */
  pruned(untils: readonly number[], live: readonly ReadonlySet<number>[]): OffsetTable {
    const table = new OffsetTable();
    for (const shard of this.shardIndices) {
      table.add(shard, this.list(shard));
      const [until, alive] = [untils[shard], live[shard]];
      if (until !== undefined && alive !== undefined) table.prune(shard, until, alive);
    }
    return table;
  }

  /** Drops the offsets of lives up to `until` (a shard revision) that are not in `live`; see `TwinTable.prune`. */
  prune(shard: number, until: number, live: ReadonlySet<number>): void {
    const { lives, offsets } = this.list(shard);
    const kept = [...lives.keys()].filter((i) => lives[i]! > until || live.has(lives[i]!));
    this.shards.delete(shard);
    this.add(shard, { lives: kept.map((i) => lives[i]!), offsets: kept.map((i) => offsets[i]!) });
  }
}

/** Copies the known numbers as a block of memory: each move adds to them, while calls to its step wait. */
function joined(known: Float64Array | undefined, added: readonly number[]): Float64Array {
  const count = known?.length ?? 0;
  const all = new Float64Array(count + added.length);
  if (known !== undefined) all.set(known);
  all.set(added, count);
  return all;
}
