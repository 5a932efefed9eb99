// Indices below are in range by construction; `!` keeps the hot lookups free of checks.

/** The twins of one shard: the revision that each of the mover's imports stands for. */
export interface Twins {
  /** Shard revisions of imports, ascending. */
  readonly shardRevisions: readonly number[];
  /** The revisions that clients see, one for each import. */
  readonly revisions: readonly number[];
}

/** Maximum number of twins in a block: an index into it takes 16 bits. */
const MAX_TWINS = 0x1_0000;
/** The shard revisions of a block differ by less than this, so that a distance takes 16 bits. */
const MAX_SHARD_SPAN = 0x1_0000;
/** The revisions of a block differ by less than this, so that a distance takes 32 bits. */
const MAX_SPAN = 0x1_0000_0000;

/**
 * Up to 65,536 twins of one shard, 8 bytes each: the shard revision and the revision as distances from the block's lowest,
 * and the order by revision.
 */
class Block {
  constructor(
    readonly start: number,
    readonly least: number,
    readonly shardRevisions: Uint16Array,
    readonly revisions: Uint32Array,
    /** Indices of the twins, in ascending order of revision. */
    readonly order: Uint16Array,
  ) {}

  /** Builds a block from the twins at the indices `from` to `to - 1`. */
  static of({ shardRevisions, revisions }: Twins, from: number, to: number): Block {
    const start = shardRevisions[from]!;
    let least = revisions[from]!;
    for (let i = from; i < to; i++) least = Math.min(least, revisions[i]!);
    const count = to - from;
    const near = new Uint16Array(count);
    const far = new Uint32Array(count);
    const order = new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      near[i] = shardRevisions[from + i]! - start;
      far[i] = revisions[from + i]! - least;
      order[i] = i;
    }
    order.sort((a, b) => far[a]! - far[b]! || a - b);
    return new Block(start, least, near, far, order);
  }

  /**
   * This block and `next`, whose shard revisions are all above; undefined when they do not fit into one. Takes time in
   * proportion to the twins, because each move adds to the last block, on every proxy, while calls to its step wait.
   */
  with(next: Block): Block | undefined {
    const count = this.count + next.count;
    const least = Math.min(this.least, next.least);
    const most = Math.max(this.most, next.most);
    const span = next.shardRevision(next.count - 1) - this.start;
    if (count > MAX_TWINS || span >= MAX_SHARD_SPAN || most - least >= MAX_SPAN) return undefined;
    const near = new Uint16Array(count);
    near.set(this.shardRevisions);
    const far = new Uint32Array(count);
    for (let i = 0; i < this.count; i++) far[i] = this.revision(i) - least;
    for (let i = 0; i < next.count; i++) {
      near[this.count + i] = next.shardRevision(i) - this.start;
      far[this.count + i] = next.revision(i) - least;
    }
    const order = new Uint16Array(count);
    for (let i = 0, mine = 0, other = 0; i < count; i++) {
      const a = this.order[mine];
      const b = next.order[other];
      if (a === undefined || (b !== undefined && far[this.count + b]! < far[a]!)) {
        order[i] = this.count + b!;
        other++;
      } else {
        order[i] = a;
        mine++;
      }
    }
    return new Block(this.start, least, near, far, order);
  }

  get count(): number {
    return this.order.length;
  }

  /** The highest revision. */
  private get most(): number {
    return this.revision(this.order[this.count - 1]!);
  }

  get bytes(): number {
    return this.shardRevisions.byteLength + this.revisions.byteLength + this.order.byteLength;
  }

  shardRevision(index: number): number {
    return this.start + this.shardRevisions[index]!;
  }

  revision(index: number): number {
    return this.least + this.revisions[index]!;
  }
}

/**
 * The twins of all shards: which writes on a shard were imports, and the revision that each stands for. Several imports on
 * a shard may stand for the same revision. A twin takes 8 bytes.
 */
export class TwinTable {
  private readonly shards = new Map<number, Block[]>();

  /** True while no shard has twins. */
  get isEmpty(): boolean {
    return this.shards.size === 0;
  }

  /** Number of twins. */
  get count(): number {
    let count = 0;
    for (const blocks of this.shards.values()) for (const block of blocks) count += block.count;
    return count;
  }

  /** Memory of the twins, in bytes. */
  get bytes(): number {
    let bytes = 0;
    for (const blocks of this.shards.values()) for (const block of blocks) bytes += block.bytes;
    return bytes;
  }

  /** Shards that have twins, ascending. */
  get shardIndices(): number[] {
    return [...this.shards.keys()].sort((a, b) => a - b);
  }

  /** Adds the twins of a move. Throws a RangeError when a shard revision is not above all that the shard has here. */
  add(shard: number, twins: Twins): void {
    const blocks = this.shards.get(shard) ?? [];
    const last = blocks.at(-1);
    const first = twins.shardRevisions.at(0);
    if (last !== undefined && first !== undefined && first <= last.shardRevision(last.count - 1))
      throw new RangeError("twins must be added in ascending order of shard revision");
    for (const block of splitIntoBlocks(twins)) {
      // Moves of few keys share a block.
      const joined = blocks.at(-1)?.with(block);
      if (joined !== undefined) blocks.pop();
      blocks.push(joined ?? block);
    }
    if (blocks.length > 0) this.shards.set(shard, blocks);
  }

  /** The revision that the import on `shard` at `shardRevision` stands for; undefined when that is not an import. */
  revisionOf(shard: number, shardRevision: number): number | undefined {
    const blocks = this.shards.get(shard);
    if (blocks === undefined) return undefined;
    const block = blocks[lastAtMost(blocks.length, (i) => blocks[i]!.start, shardRevision)];
    if (block === undefined) return undefined;
    const index = lastAtMost(block.count, (i) => block.shardRevision(i), shardRevision);
    return block.shardRevision(index) === shardRevision ? block.revision(index) : undefined;
  }

  /** The shard revisions of all imports on `shard` that stand for `revision`, ascending. */
  shardRevisionsOf(shard: number, revision: number): number[] {
    const found: number[] = [];
    for (const block of this.shards.get(shard) ?? []) {
      let at = lastAtMost(block.count, (i) => block.revision(block.order[i]!), revision);
      const here: number[] = [];
      for (; at >= 0 && block.revision(block.order[at]!) === revision; at--) {
        here.push(block.shardRevision(block.order[at]!));
      }
      found.push(...here.reverse());
    }
    return found;
  }

  /** The twins of a shard, from number `from` up to number `to`, not included; by default all. */
  list(shard: number, from = 0, to = Number.POSITIVE_INFINITY): Twins {
    const shardRevisions: number[] = [];
    const revisions: number[] = [];
    let first = 0;
    for (const block of this.shards.get(shard) ?? []) {
      const end = Math.min(block.count, to - first);
      for (let index = Math.max(0, from - first); index < end; index++) {
        shardRevisions.push(block.shardRevision(index));
        revisions.push(block.revision(index));
      }
      first += block.count;
    }
    return { shardRevisions, revisions };
  }

  /** A table without the twins of each shard that `prune` would drop. */
  pruned(untils: readonly number[], live: readonly ReadonlySet<number>[]): TwinTable {
    const table = new TwinTable();
    for (const shard of this.shardIndices) {
      table.add(shard, this.list(shard));
      const [until, alive] = [untils[shard], live[shard]];
      if (until !== undefined && alive !== undefined) table.prune(shard, until, alive);
    }
    return table;
  }

  /**
   * Drops the twins of `shard` up to `until` (a shard revision) that are not in `live`. That set holds the create and mod
   * revisions (shard revisions) of all keys that the shard can still return.
   */
  prune(shard: number, until: number, live: ReadonlySet<number>): void {
    const { shardRevisions, revisions } = this.list(shard);
    const kept = [...shardRevisions.keys()].filter(
      (i) => shardRevisions[i]! > until || live.has(shardRevisions[i]!),
    );
    this.shards.delete(shard);
    this.add(shard, {
      shardRevisions: kept.map((i) => shardRevisions[i]!),
      revisions: kept.map((i) => revisions[i]!),
    });
  }
}

/** Divides twins into blocks within the three limits above. */
function splitIntoBlocks(twins: Twins): Block[] {
  const { shardRevisions, revisions } = twins;
  const blocks: Block[] = [];
  let from = 0;
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (let i = 0; i < revisions.length; i++) {
    const low = Math.min(least, revisions[i]!);
    const high = Math.max(most, revisions[i]!);
    const fits = shardRevisions[i]! - shardRevisions[from]! < MAX_SHARD_SPAN && high - low < MAX_SPAN;
    if (fits && i - from < MAX_TWINS) {
      least = low;
      most = high;
    } else {
      blocks.push(Block.of(twins, from, i));
      from = i;
      least = revisions[i]!;
      most = revisions[i]!;
    }
  }
  if (from < revisions.length) blocks.push(Block.of(twins, from, revisions.length));
  return blocks;
}

/** The index of the last of `count` ascending values that is at most `value`; -1 when there is none. */
function lastAtMost(count: number, at: (index: number) => number, value: number): number {
  let low = 0;
  let high = count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    if (at(middle) <= value) low = middle + 1;
    else high = middle - 1;
  }
  return high;
}
