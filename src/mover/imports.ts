// Indices below are in range by construction; `!` keeps the lookups free of checks.
import type { Offsets } from "../reshard/offsets.js";
import type { Twins } from "../reshard/twins.js";

/** Pairs of numbers, sorted by the first when needed. 16 bytes each. */
class Pairs {
  private keys: number[] = [];
  private values: number[] = [];
  private sorted = true;

  add(key: number, value: number): void {
    if (this.keys.length > 0 && this.keys[this.keys.length - 1]! > key) this.sorted = false;
    this.keys.push(key);
    this.values.push(value);
  }

  get(key: number): number | undefined {
    this.sort();
    const { keys } = this;
    let low = 0;
    let high = keys.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (keys[middle] === key) return this.values[middle];
      if (keys[middle]! < key) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  list(): { keys: readonly number[]; values: readonly number[] } {
    this.sort();
    return { keys: this.keys, values: this.values };
  }

  keep(wanted: (key: number) => boolean): void {
    const { keys, values } = this;
    this.keys = [];
    this.values = [];
    for (let i = 0; i < keys.length; i++) if (wanted(keys[i]!)) this.add(keys[i]!, values[i]!);
  }

  /** Transactions in flight together may answer in any order, so the list is nearly sorted. */
  private sort(): void {
    if (this.sorted) return;
    const order = [...this.keys.keys()].sort((a, b) => this.keys[a]! - this.keys[b]!);
    this.keys = order.map((i) => this.keys[i]!);
    this.values = order.map((i) => this.values[i]!);
    this.sorted = true;
  }
}

/** The imports of one attempt at a step on one destination. */
export class Imports {
  private readonly twins = new Pairs();
  private readonly lives = new Pairs();

  /** Records that the import at `shardRevision` stands for `revision`. `offset` is that of the lives that begin with it. */
  add(shardRevision: number, revision: number, offset: number): void {
    this.twins.add(shardRevision, revision);
    if (offset > 0) this.lives.add(shardRevision, offset);
  }

  /** The revision that the write at `shardRevision` stands for; 0 when it is not an import. */
  revisionOf(shardRevision: number): number {
    return this.twins.get(shardRevision) ?? 0;
  }

  /** The version offset of the life that began at `shardRevision`. */
  offsetOf(shardRevision: number): number {
    return this.lives.get(shardRevision) ?? 0;
  }

  /** Drops the imports up to `until` that are not in `live`, the create and mod revisions of the keys that are there. */
  prune(until: number, live: ReadonlySet<number>): void {
    const isWanted = (shardRevision: number) => shardRevision > until || live.has(shardRevision);
    this.twins.keep(isWanted);
    this.lives.keep(isWanted);
  }

  /** The twins and offsets for the log. */
  list(): { twins: Twins; offsets: Offsets } {
    const { keys: shardRevisions, values: revisions } = this.twins.list();
    const { keys: lives, values: offsets } = this.lives.list();
    return { twins: { shardRevisions, revisions }, offsets: { lives, offsets } };
  }
}
