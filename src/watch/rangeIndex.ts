import type { TextRange } from "./keys.js";

/**
 * Maps ranges of keys to values. Finds the values of all ranges that hold a key without a scan of all ranges.
 *
 * Ranges of one key are in a hash table. The others are in an interval tree: a treap ordered by begin and end, in which
 * each node has the highest end of its subtree. `set`, `get` and `delete` take O(log n). `find` usually
 * takes O(log n + hits): it skips subtrees whose ranges all end at or below the key.
 */
export class RangeIndex<T> {
  private readonly singles = new Map<string, T>();
  private root: Node<T> | undefined;

  /** `random` is uniform in [0, 1). */
  constructor(private readonly random: () => number) {}

  /** Returns the value of exactly this range. */
  get(range: TextRange): T | undefined {
    return isSingle(range) ? this.singles.get(range.begin) : this.nodeOf(range)?.value;
  }

  /** Sets the value of a range that has none yet. */
  set(range: TextRange, value: T): void {
    if (isSingle(range)) {
      this.singles.set(range.begin, value);
      return;
    }
    const { begin, end } = range;
    const priority = this.random();
    const node = { begin, end, max: end, priority, value, left: undefined, right: undefined };
    this.root = insert(this.root, node);
  }

  /** Removes the range's value, if it has one. */
  delete(range: TextRange): void {
    if (isSingle(range)) this.singles.delete(range.begin);
    else this.root = remove(this.root, range);
  }

  /** Calls `visit` with the value of each range that holds `key`. `visit` must not change the index. */
  find(key: string, visit: (value: T) => void): void {
    const single = this.singles.get(key);
    if (single !== undefined) visit(single);
    if (this.root !== undefined) stab(this.root, key, visit);
  }

  /** Iterates over all values. */
  *values(): Generator<T> {
    yield* this.singles.values();
    const nodes = this.root === undefined ? [] : [this.root];
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      yield node.value;
      if (node.left !== undefined) nodes.push(node.left);
      if (node.right !== undefined) nodes.push(node.right);
    }
  }

  private nodeOf(range: TextRange): Node<T> | undefined {
    let node = this.root;
    while (node !== undefined) {
      const order = compare(range, node);
      if (order === 0) return node;
      node = order < 0 ? node.left : node.right;
    }
    return undefined;
  }
}

interface Node<T> extends TextRange {
  /** Highest end in this subtree. */
  max: string;
  /** Higher than in the nodes below. Random, so that the tree is balanced for any order of insertion. */
  readonly priority: number;
  readonly value: T;
  left: Node<T> | undefined;
  right: Node<T> | undefined;
}

const isSingle = ({ begin, end }: TextRange): boolean =>
  end.length === begin.length + 1 && end.charCodeAt(begin.length) === 0 && end.startsWith(begin);

function compare(a: TextRange, b: TextRange): number {
  if (a.begin !== b.begin) return a.begin < b.begin ? -1 : 1;
  if (a.end !== b.end) return a.end < b.end ? -1 : 1;
  return 0;
}

function update<T>(node: Node<T>): Node<T> {
  let max = node.end;
  if (node.left !== undefined && node.left.max > max) max = node.left.max;
  if (node.right !== undefined && node.right.max > max) max = node.right.max;
  node.max = max;
  return node;
}

function insert<T>(node: Node<T> | undefined, added: Node<T>): Node<T> {
  if (node === undefined) return added;
  if (compare(added, node) < 0) {
    node.left = insert(node.left, added);
    return node.left.priority > node.priority ? rotateRight(node) : update(node);
  }
  node.right = insert(node.right, added);
  return node.right.priority > node.priority ? rotateLeft(node) : update(node);
}

function remove<T>(node: Node<T> | undefined, range: TextRange): Node<T> | undefined {
  if (node === undefined) return undefined;
  const order = compare(range, node);
  if (order === 0) return join(node.left, node.right);
  if (order < 0) node.left = remove(node.left, range);
  else node.right = remove(node.right, range);
  return update(node);
}

/** Joins two trees. All ranges of `left` come before those of `right`. */
function join<T>(left: Node<T> | undefined, right: Node<T> | undefined): Node<T> | undefined {
  if (left === undefined) return right;
  if (right === undefined) return left;
  if (left.priority > right.priority) {
    left.right = join(left.right, right);
    return update(left);
  }
  right.left = join(left, right.left);
  return update(right);
}

function rotateRight<T>(node: Node<T>): Node<T> {
  const top = node.left!; // callers check that it is there
  node.left = top.right;
  top.right = update(node);
  return update(top);
}

function rotateLeft<T>(node: Node<T>): Node<T> {
  const top = node.right!; // callers check that it is there
  node.right = top.left;
  top.left = update(node);
  return update(top);
}

function stab<T>(node: Node<T>, key: string, visit: (value: T) => void): void {
  if (node.left !== undefined && node.left.max > key) stab(node.left, key, visit);
  if (node.begin > key) return;
  if (key < node.end) visit(node.value);
  if (node.right !== undefined && node.right.max > key) stab(node.right, key, visit);
}
