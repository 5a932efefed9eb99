/** A power of two. */
const PLACES = 2048;
/** Longer groups are not remembered, bytes. */
const MAX_LENGTH = 128;
const NOTHING = new Uint8Array(0);

/**
 * Remembers where groups are: a store's keys come from few groups compared with how often they are used, and to look one up
 * costs less than to hash it anew. Each group has one place, which it loses to the next one that hashes there.
 */
export class GroupCache {
  private readonly groups = new Array<Uint8Array>(PLACES).fill(NOTHING);
  private readonly shards = new Uint8Array(PLACES);
  private place = 0;

  /** The shard of the group that is the first `length` bytes of `key`; -1 when it is not remembered. */
  find(key: Uint8Array, length: number): number {
    if (length > MAX_LENGTH) return -1;
    let hash = length;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ key[i], 0x01000193);
    const place = (hash ^ (hash >>> 15)) & (PLACES - 1);
    this.place = place;
    const group = this.groups[place];
    if (group.length !== length) return -1;
    for (let i = 0; i < length; i++) if (group[i] !== key[i]) return -1;
    return length === 0 ? -1 : this.shards[place];
  }

  /** Remembers the shard of the group that `find` has just not found. */
  remember(group: Uint8Array, shard: number): void {
    if (group.length > MAX_LENGTH) return;
    this.groups[this.place] = new Uint8Array(group);
    this.shards[this.place] = shard;
  }
}
