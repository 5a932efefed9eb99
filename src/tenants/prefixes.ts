import { commonPrefix, compareBytes, prefixEnd } from "../routing/bytes.js";

/* Indices below are in range by construction; `!` keeps the hot loop free of checks. */

/** A value for the keys that begin with a prefix. */
export interface Prefixed<T> {
  readonly prefix: Uint8Array;
  readonly value: T;
}

/** A node of the trie of the prefixes. Its children are those of the bytes from `low` on, which follow the bytes of `run`. */
interface Node<T> {
  run: Uint8Array;
  children: (Node<T> | undefined)[];
  low: number;
  entry: Entry<T> | undefined;
}

interface Entry<T> extends Prefixed<T> {
  /** The entry with the longest prefix that is shorter. */
  readonly outer: Entry<T> | undefined;
  /** The first key behind all keys with the prefix; undefined if there is none. */
  readonly end: Uint8Array | undefined;
}

/** Finds the longest prefix that contains a key or a range. */
export class Prefixes<T> {
  private root: Node<T> = node();

  /** No two prefixes are equal. */
  constructor(entries: readonly Prefixed<T>[]) {
    for (const entry of [...entries].sort((a, b) => a.prefix.length - b.prefix.length)) this.add(entry);
    this.root = compressed(this.root);
  }

  private add({ prefix, value }: Prefixed<T>): void {
    let at = this.root;
    let outer: Entry<T> | undefined;
    for (const byte of prefix) {
      outer = at.entry ?? outer;
      at = childOf(at, byte);
    }
    at.entry = { prefix, value, outer, end: prefixEnd(prefix) };
  }

  /**
   * The value of the longest prefix of all keys from `key` up to `rangeEnd`, which has the special values of etcd: empty for
   * `key` alone, a zero byte for all keys from `key` on. Undefined if no prefix contains them all.
   */
  find(key: Uint8Array, rangeEnd: Uint8Array): T | undefined {
    let entry = this.entryOf(key, 0, key.length);
    if (rangeEnd.length > 0) while (entry !== undefined && !contains(entry, rangeEnd)) entry = entry.outer;
    return entry?.value;
  }

  /** `find` for the key alone that is `bytes` from `from` up to `to`. */
  findKey(bytes: Uint8Array, from: number, to: number): T | undefined {
    return this.entryOf(bytes, from, to)?.value;
  }

  private entryOf(bytes: Uint8Array, from: number, to: number): Entry<T> | undefined {
    let at = this.root;
    let entry: Entry<T> | undefined;
    for (let i = from; ; i++) {
      const { run } = at;
      const end = i + run.length;
      if (end > to) return entry;
      for (let j = 0; i < end; i++, j++) if (bytes[i] !== run[j]) return entry;
      if (at.entry !== undefined) entry = at.entry;
      if (i === to) return entry;
      const index = bytes[i]! - at.low;
      if (index < 0 || index >= at.children.length) return entry;
      const child = at.children[index];
      if (child === undefined) return entry;
      at = child;
    }
  }
}

const NO_RUN = new Uint8Array(0);
const node = <T>(): Node<T> => ({ run: NO_RUN, children: [], low: 0, entry: undefined });

/** The same trie, with each chain of nodes without a choice as one node. */
function compressed<T>(first: Node<T>): Node<T> {
  let at = first;
  const run: number[] = [];
  while (at.entry === undefined && at.children.length === 1) {
    run.push(at.low);
    at = at.children[0]!;
  }
  const children = at.children.map((child) => child && compressed(child));
  return { ...at, run: Uint8Array.from(run), children };
}

/** The child of a byte, which is made if there is none. */
function childOf<T>(at: Node<T>, byte: number): Node<T> {
  if (at.children.length === 0) at.low = byte;
  while (byte < at.low) {
    at.children.unshift(undefined);
    at.low--;
  }
  while (byte - at.low >= at.children.length) at.children.push(undefined);
  const known = at.children[byte - at.low];
  if (known !== undefined) return known;
  const child = node<T>();
  at.children[byte - at.low] = child;
  return child;
}

/** Whether a range that begins with the prefix also ends there. */
function contains({ prefix, end }: Entry<unknown>, rangeEnd: Uint8Array): boolean {
  if (end === undefined) return true;
  const isUnbounded = rangeEnd.length === 1 && rangeEnd[0] === 0;
  if (isUnbounded) return false;
  // A range that ends before it begins has no keys.
  return commonPrefix(prefix, rangeEnd) === prefix.length || compareBytes(rangeEnd, end) <= 0;
}
