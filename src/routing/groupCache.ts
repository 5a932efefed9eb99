// Indices below are in range by construction; `!` keeps the hot loops free of checks.

/** A power of two. */
const SLOTS = 2048;
/** Longer groups are not cached. */
const MAX_GROUP_BYTES = 128;
const EMPTY = new Uint8Array(0);

/**
 * Caches the shards of groups. A store has few groups compared with how often they are used, and a lookup costs
 * less than hashing a group and drawing for its shard. Each group has one slot, which the next group that hashes
 * there takes over.
 */
export class GroupCache {
  private readonly groups = new Array<Uint8Array>(SLOTS).fill(EMPTY);
  private readonly shards = new Uint8Array(SLOTS);
  /** The slot of the latest `find`. */
  private slot = 0;

  /** Returns the shard of the group `key[0, length)`, or -1 if it is not cached. */
  find(key: Uint8Array, length: number): number {
    if (length > MAX_GROUP_BYTES) return -1;
    let hash = length;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ key[i]!, 0x01000193);
    const slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
    this.slot = slot;
    const group = this.groups[slot]!;
    if (group.length !== length) return -1;
    for (let i = 0; i < length; i++) if (group[i] !== key[i]) return -1;
    return length === 0 ? -1 : this.shards[slot]!;
  }

  /** Caches the shard of a group. Call it right after `find` has returned -1 for the same group. */
  remember(group: Uint8Array, shard: number): void {
    if (group.length > MAX_GROUP_BYTES) return;
    this.groups[this.slot] = new Uint8Array(group);
    this.shards[this.slot] = shard;
  }
}
