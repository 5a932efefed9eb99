import type { TextRange } from "./keys.js";

/**
 * Values by the range of keys that they belong to. Finds those in whose ranges a key lies in less time than looking at
 * all of them.
 *
 * Ranges of one key are in a hash table, the others in an interval tree: a treap ordered by begin and end, in which
 * each node knows the highest end below it. `set`, `get` and `delete` take O(log n), `find` O(log n + hits) for ranges
 * that do not overlap in odd ways (each subtree without a hit is left at its root).
 */
export class RangeIndex<T> {
  private readonly singles = new Map<string, T>();
  private root: Node<T> | undefined;

  /** `random` is uniform in [0, 1). */
  constructor(private readonly random: () => number) {}

  /** The value of exactly this range. */
  get(range: TextRange): T | undefined {
    return isSingle(range) ? this.singles.get(range.begin) : this.nodeOf(range)?.value;
  }

  /** Gives the range, which has no value yet, one. */
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

  /** Takes the range's value away, if it has one. */
  delete(range: TextRange): void {
    if (isSingle(range)) this.singles.delete(range.begin);
    else this.root = remove(this.root, range);
  }

  /** Calls `visit` with the value of each range that holds `key`. The index must not change meanwhile. */
  find(key: string, visit: (value: T) => void): void {
    const single = this.singles.get(key);
    if (single !== undefined) visit(single);
    if (this.root !== undefined) stab(this.root, key, visit);
  }

  /** All values. */
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
  /** Above those of the nodes below: random, so that the tree is balanced whatever comes. */
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

/** One tree of two, all of whose left ranges come before the right ones. */
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
  const top = node.left!;
  node.left = top.right;
  top.right = update(node);
  return update(top);
}

function rotateLeft<T>(node: Node<T>): Node<T> {
  const top = node.right!;
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
