import type { Shard } from "./shard.js";

/** Called when a set changes. */
export interface ShardListener<T> {
  /** A shard has joined, or the cluster of a retired shard has come back under its index. */
  added(item: T, index: number): void;
  retired?(item: T, index: number): void;
}

/**
 * The shards of a running proxy by their index in the store, or one item for each of them. Shards can join and retire while
 * the proxy runs. The index of a shard never changes, so the indices in use can have gaps.
 */
export class ShardSet<T = Shard> {
  /** By index, retired ones included. */
  private readonly items: T[] = [];
  private readonly inUse = new Map<number, T>();
  private list: readonly T[] = [];
  private readonly listeners = new Set<ShardListener<T>>();

  /** A set of these shards. */
  static of<S extends { readonly index: number }>(shards: Iterable<S>): ShardSet<S> {
    const set = new ShardSet<S>();
    for (const shard of shards) set.add(shard.index, shard);
    return set;
  }

  /** The item of the shard with this index, also after it has retired. Throws `RangeError` if no shard has the index. */
  at(index: number): T {
    const item = this.items[index];
    if (item === undefined) throw new RangeError(`no shard has index ${index}`);
    return item;
  }

  /** Like `at`, but returns undefined for a shard that has retired, and for an unknown index. */
  find(index: number): T | undefined {
    return this.inUse.get(index);
  }

  /** All items but those of retired shards, in index order. The list never changes; a later call may return another one. */
  all(): readonly T[] {
    return this.list;
  }

  /** Like `all`, with the indices. */
  entries(): readonly (readonly [index: number, item: T])[] {
    return [...this.inUse];
  }

  /** The item with the lowest index. Throws `RangeError` if there are no shards. */
  get first(): T {
    const [first] = this.list;
    if (first === undefined) throw new RangeError("there are no shards");
    return first;
  }

  /** Adds an item. It replaces an earlier one with the same index. */
  add(index: number, item: T): void {
    this.items[index] = item;
    this.inUse.set(index, item);
    this.changed();
    for (const listener of [...this.listeners]) listener.added(item, index);
  }

  /** Takes an item out of `all`. Does nothing if it is not there. */
  retire(index: number): void {
    const item = this.inUse.get(index);
    if (item === undefined) return;
    this.inUse.delete(index);
    this.changed();
    for (const listener of [...this.listeners]) listener.retired?.(item, index);
  }

  /** Passes `listener` all items of now, in index order, and each later change. Returns a function that ends that. */
  follow(listener: ShardListener<T>): () => void {
    for (const [index, item] of this.entries()) listener.added(item, index);
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * A set of what `make` returns for each shard. It follows this set permanently. `retired` is called for an item whose shard
   * retires.
   */
  map<U>(make: (item: T, index: number) => U, retired?: (item: U) => void): ShardSet<U> {
    const mapped = new ShardSet<U>();
    this.follow({
      added: (item, index) => mapped.add(index, make(item, index)),
      retired: (_, index) => {
        const item = mapped.at(index);
        mapped.retire(index);
        retired?.(item);
      },
    });
    return mapped;
  }

  private changed(): void {
    const sorted = [...this.inUse].sort(([a], [b]) => a - b);
    this.inUse.clear();
    for (const [index, item] of sorted) this.inUse.set(index, item);
    this.list = sorted.map(([, item]) => item);
  }
}
