/** What the mover's writes on one shard stand for, ascending by shard revision. */
export interface Twins {
  /** Shard revisions of imports, ascending. */
  readonly shardRevisions: readonly number[];
  /** The revisions that clients know, one for each import. */
  readonly revisions: readonly number[];
}

/** Most twins of a block; a place in it takes 16 bits. */
const BLOCK = 0x1_0000;
/** Shard revisions of a block lie this close together. */
const SHARD_SPAN = 0x1_0000;
/** So do the revisions. */
const SPAN = 0x1_0000_0000;

/** Up to 65,536 twins of one shard, 8 bytes each: both revisions as distances, and the order by revision. */
class Block {
  constructor(
    readonly start: number,
    readonly least: number,
    readonly shardRevisions: Uint16Array,
    readonly revisions: Uint32Array,
    /** Places in ascending order of their revisions. */
    readonly order: Uint16Array,
  ) {}

  /** The block of `from … to - 1` of two lists. */
  static of({ shardRevisions, revisions }: Twins, from: number, to: number): Block {
    const start = shardRevisions[from];
    let least = revisions[from];
    for (let i = from; i < to; i++) least = Math.min(least, revisions[i]);
    const count = to - from;
    const near = new Uint16Array(count);
    const far = new Uint32Array(count);
    const order = new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      near[i] = shardRevisions[from + i] - start;
      far[i] = revisions[from + i] - least;
      order[i] = i;
    }
    order.sort((a, b) => far[a] - far[b] || a - b);
    return new Block(start, least, near, far, order);
  }

  get count(): number {
    return this.order.length;
  }

  get bytes(): number {
    return this.shardRevisions.byteLength + this.revisions.byteLength + this.order.byteLength;
  }

  shardRevision(place: number): number {
    return this.start + this.shardRevisions[place];
  }

  revision(place: number): number {
    return this.least + this.revisions[place];
  }
}

/**
 * The twins of all shards: which writes on a shard were imports, and which revision each of them stands for. Several imports
 * of a shard may stand for the same revision. 8 bytes per twin.
 */
export class TwinTable {
  private readonly shards = new Map<number, Block[]>();

  /** Number of twins. */
  get count(): number {
    let count = 0;
    for (const blocks of this.shards.values()) for (const block of blocks) count += block.count;
    return count;
  }

  /** Bytes that the twins take. */
  get bytes(): number {
    let bytes = 0;
    for (const blocks of this.shards.values()) for (const block of blocks) bytes += block.bytes;
    return bytes;
  }

  /** Shards that have twins, ascending. */
  get shardIndices(): number[] {
    return [...this.shards.keys()].sort((a, b) => a - b);
  }

  /** Adds the twins of a move. Their shard revisions lie above all that the shard has here; throws a RangeError otherwise. */
  add(shard: number, twins: Twins): void {
    const blocks = this.shards.get(shard) ?? [];
    let all = twins;
    const last = blocks.at(-1);
    if (last !== undefined) {
      if (twins.shardRevisions.length > 0 && twins.shardRevisions[0] <= last.shardRevision(last.count - 1)) {
        throw new RangeError("twins must be added in the order of their shard revisions");
      }
      // Moves of few keys share a block.
      if (last.count + twins.revisions.length <= BLOCK) {
        blocks.pop();
        all = join(listOf(last), twins);
      }
    }
    blocks.push(...cutIntoBlocks(all));
    if (blocks.length > 0) this.shards.set(shard, blocks);
  }

  /** The revision that the import of `shard` at `shardRevision` stands for; undefined when it is no import. */
  revisionOf(shard: number, shardRevision: number): number | undefined {
    const blocks = this.shards.get(shard);
    if (blocks === undefined) return undefined;
    const block = blocks[lastAtMost(blocks.length, (i) => blocks[i].start, shardRevision)];
    if (block === undefined) return undefined;
    const place = lastAtMost(block.count, (i) => block.shardRevision(i), shardRevision);
    return block.shardRevision(place) === shardRevision ? block.revision(place) : undefined;
  }

  /** The shard revisions of all imports of `shard` that stand for `revision`, ascending. */
  shardRevisionsOf(shard: number, revision: number): number[] {
    const found: number[] = [];
    for (const block of this.shards.get(shard) ?? []) {
      let at = lastAtMost(block.count, (i) => block.revision(block.order[i]), revision);
      const here: number[] = [];
      for (; at >= 0 && block.revision(block.order[at]) === revision; at--) {
        here.push(block.shardRevision(block.order[at]));
      }
      found.push(...here.reverse());
    }
    return found;
  }

  /** All twins of a shard. */
  list(shard: number): Twins {
    return (this.shards.get(shard) ?? []).map(listOf).reduce(join, NONE);
  }

  /**
   * Drops the twins of `shard` up to `until` (a shard revision) that `live` does not hold: the create and mod revisions,
   * the shard's own, of all keys that it can still show.
   */
  prune(shard: number, until: number, live: ReadonlySet<number>): void {
    const { shardRevisions, revisions } = this.list(shard);
    const kept = [...shardRevisions.keys()].filter(
      (i) => shardRevisions[i] > until || live.has(shardRevisions[i]),
    );
    this.shards.delete(shard);
    this.add(shard, {
      shardRevisions: kept.map((i) => shardRevisions[i]),
      revisions: kept.map((i) => revisions[i]),
    });
  }
}

const NONE: Twins = { shardRevisions: [], revisions: [] };

function listOf(block: Block): Twins {
  const places = [...block.order.keys()];
  return {
    shardRevisions: places.map((place) => block.shardRevision(place)),
    revisions: places.map((place) => block.revision(place)),
  };
}

const join = (a: Twins, b: Twins): Twins => ({
  shardRevisions: [...a.shardRevisions, ...b.shardRevisions],
  revisions: [...a.revisions, ...b.revisions],
});

function cutIntoBlocks(twins: Twins): Block[] {
  const { shardRevisions, revisions } = twins;
  const blocks: Block[] = [];
  let from = 0;
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (let i = 0; i < revisions.length; i++) {
    const low = Math.min(least, revisions[i]);
    const high = Math.max(most, revisions[i]);
    const fits = shardRevisions[i] - shardRevisions[from] < SHARD_SPAN && high - low < SPAN;
    if (fits && i - from < BLOCK) {
      least = low;
      most = high;
    } else {
      blocks.push(Block.of(twins, from, i));
      from = i;
      least = revisions[i];
      most = revisions[i];
    }
  }
  if (from < revisions.length) blocks.push(Block.of(twins, from, revisions.length));
  return blocks;
}

/** The last of `count` ascending values that is at most `value`; -1 when there is none. */
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
