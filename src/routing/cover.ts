// Indices below are in range by construction; `!` keeps the hot loops free of checks.

import { commonPrefix } from "./bytes.js";
import type { Grouping } from "./groups.js";
import type { TrieNode } from "./trie.js";

/** The shard that a group hashes to. */
export type Placement = (group: Uint8Array) => number;

/**
 * A walk along the bytes of a key. At each position it knows what all keys with the bytes walked have in common:
 * the trie node, if there still is one, the rule in force, and how much of their group is known.
 */
export class Cursor {
  node: TrieNode | undefined;
  rule: Grouping;
  /** Bytes walked. */
  position = 0;
  /** Length of the group that all keys from here share under the rule in force, or -1 if they share none. */
  closed: number;
  /** `position` less the trailing delimiters of the rule in force. */
  trimmed = 0;
  /** Segments begun after the rule's prefix. */
  private seen = 0;
  /** Whether the walk is inside a segment. */
  private inside = false;

  constructor(root: TrieNode) {
    this.node = root;
    this.rule = root.rule;
    this.closed = root.rule.segments === 0 ? 0 : -1;
  }

  /** True when a delimiter as the next byte closes the group. Only that byte then leads into a single group. */
  get atGroupEnd(): boolean {
    return this.inside && this.seen === this.rule.segments;
  }

  /** True when every key from here has the same shard. */
  get settled(): boolean {
    return (this.closed >= 0 || this.rule.pin >= 0) && (this.node === undefined || this.node.isLeaf);
  }

  /** Walks the byte of `key` at `position`. */
  step(key: Uint8Array): void {
    const byte = key[this.position++]!;
    this.node = this.node?.child(byte);
    if (this.node && this.node.rule !== this.rule) {
      this.rule = this.node.rule;
      this.trimmed = this.rule.trimmedPrefix;
      this.closed = this.rule.segments === 0 ? this.trimmed : -1;
      this.seen = 0;
      this.inside = false;
      return;
    }
    if (byte !== this.rule.delimiter) this.trimmed = this.position;
    if (this.closed >= 0) return;
    if (byte === this.rule.delimiter) {
      if (this.atGroupEnd) this.closed = this.position - 1;
      this.inside = false;
    } else if (!this.inside) {
      this.inside = true;
      this.seen++;
    }
  }
}

/**
 * Collects exactly the shards that can hold a key of a range.
 *
 * A range is a union of single keys and of subtrees (all keys with a given prefix). Where one rule is in force in
 * a whole subtree, either its keys share a group and so a shard, or they have infinitely many groups and so every
 * shard. Where rules begin inside a subtree, it is split along their trie.
 */
export class Cover {
  private readonly seen: Uint8Array;
  private readonly placement: Placement;
  private count = 0;

  constructor(shardCount: number, placement: Placement) {
    this.seen = new Uint8Array(shardCount);
    this.placement = placement;
  }

  get complete(): boolean {
    return this.count === this.seen.length;
  }

  /** The shards collected, ascending. */
  shards(): number[] {
    const shards: number[] = [];
    for (let shard = 0; shard < this.seen.length; shard++) if (this.seen[shard]) shards.push(shard);
    return shards;
  }

  /** Adds the key that `cursor` has walked. */
  addKey(cursor: Cursor, key: Uint8Array): void {
    this.addGroup(cursor, key, cursor.closed >= 0 ? cursor.closed : cursor.trimmed);
  }

  /** Adds all keys that start with the bytes that `cursor` has walked. */
  addSubtree(cursor: Cursor, key: Uint8Array): void {
    if (cursor.node) {
      for (const shard of cursor.node.reach) this.add(shard);
    } else {
      this.addKey(cursor, key);
      this.addChildren(cursor, key, 0, 255);
    }
  }

  /** Adds all keys that start with the bytes walked and then a byte in `[from, to]`. Adds none when `from > to`. */
  addChildren(cursor: Cursor, key: Uint8Array, from: number, to: number): void {
    if (from > to) return;
    const { node, rule } = cursor;
    let plain = to - from + 1;
    if (node && !node.isLeaf) {
      for (let byte = from; byte <= to; byte++) {
        const child = node.child(byte);
        if (!child) continue;
        plain--;
        for (const shard of child.reach) this.add(shard);
      }
      if (plain === 0) return;
    }
    if (rule.pin >= 0 || cursor.closed >= 0) {
      this.addGroup(cursor, key, cursor.closed);
      return;
    }
    const { delimiter } = rule;
    if (cursor.atGroupEnd && from <= delimiter && delimiter <= to && !node?.child(delimiter)) {
      this.addGroup(cursor, key, cursor.position);
      plain--;
    }
    if (plain > 0) this.addAll();
  }

  /** Adds the keys in `[low, high)`; an undefined `high` means no end. `low` is not empty and less than `high`. */
  addRange(root: TrieNode, low: Uint8Array, high: Uint8Array | undefined): void {
    const shared = high ? commonPrefix(low, high) : 0;
    const cursor = new Cursor(root);
    while (cursor.position < shared) cursor.step(low);
    if (high && shared < low.length) {
      this.addChildren(cursor, low, low[shared]! + 1, high[shared]! - 1);
      const upper = new Cursor(root);
      while (upper.position <= shared) upper.step(high);
      this.addBelow(upper, high);
      cursor.step(low);
      this.addFrom(cursor, low);
    } else if (high) {
      this.addBelow(cursor, high);
    } else {
      this.addFrom(cursor, low);
    }
  }

  /** Adds the keys that start with the walked bytes of `low` and are at least `low`. */
  private addFrom(cursor: Cursor, low: Uint8Array): void {
    while (cursor.position < low.length && !cursor.settled) {
      if (this.complete) return;
      this.addChildren(cursor, low, low[cursor.position]! + 1, 255);
      cursor.step(low);
    }
    this.addSubtree(cursor, low);
  }

  /**
   * Adds the keys that start with the walked bytes of `high` and are less than `high`. A run of zero bytes in
   * `high` costs a hash for each byte until every shard is found. The bounds on weights keep that short.
   */
  private addBelow(cursor: Cursor, high: Uint8Array): void {
    while (cursor.position < high.length && !this.complete) {
      this.addKey(cursor, high);
      if (cursor.settled) return;
      this.addChildren(cursor, high, 0, high[cursor.position]! - 1);
      cursor.step(high);
    }
  }

  private addGroup(cursor: Cursor, key: Uint8Array, end: number): void {
    if (cursor.rule.pin >= 0) {
      this.add(cursor.rule.pin);
    } else {
      this.add(this.placement(key.subarray(0, end)));
    }
  }

  private add(shard: number): void {
    this.count += 1 - this.seen[shard]!;
    this.seen[shard] = 1;
  }

  private addAll(): void {
    this.seen.fill(1);
    this.count = this.seen.length;
  }
}
