import type { Grouping } from "./groups.js";

/** A node of the trie of the rules' prefixes. */
export class TrieNode {
  /** The rule in force for keys that leave the trie here: the one with the longest prefix so far. */
  rule: Grouping;
  /** Indices of the shards that can hold a key under this node, ascending. */
  reach: readonly number[] = [];
  private low = 0;
  private children: (TrieNode | undefined)[] = [];

  constructor(rule: Grouping) {
    this.rule = rule;
  }

  get isLeaf(): boolean {
    return this.children.length === 0;
  }

  child(byte: number): TrieNode | undefined {
    const at = byte - this.low;
    return at >= 0 && at < this.children.length ? this.children[at] : undefined;
  }

  /** The bytes that have children, ascending. */
  bytes(): number[] {
    const bytes: number[] = [];
    this.children.forEach((child, at) => {
      if (child) bytes.push(this.low + at);
    });
    return bytes;
  }

  setChild(byte: number, child: TrieNode): void {
    const bytes = [...this.bytes(), byte];
    const low = Math.min(...bytes);
    const children = new Array<TrieNode | undefined>(Math.max(...bytes) - low + 1).fill(undefined);
    for (const each of bytes) children[each - low] = each === byte ? child : this.child(each);
    this.low = low;
    this.children = children;
  }
}

/** Builds the trie of `rules`, which are in ascending order of their prefixes. The first prefix is empty. */
export function buildTrie([first, ...rules]: readonly Grouping[]): TrieNode {
  if (first === undefined) throw new Error("no rule for the empty prefix");
  const root = new TrieNode(first);
  for (const rule of rules) {
    let node = root;
    for (const byte of rule.rule.prefix) {
      let child = node.child(byte);
      if (!child) {
        // Shorter prefixes come first, so `node` has the rule in force here.
        child = new TrieNode(node.rule);
        node.setChild(byte, child);
      }
      node = child;
    }
    node.rule = rule;
  }
  return root;
}

/** Returns the rule in force for `key`. */
export function ruleOf(root: TrieNode, key: Uint8Array): Grouping {
  let node = root;
  for (let i = 0; i < key.length; i++) {
    // In range; the check would cost every request.
    const child = node.child(key[i]!);
    if (!child) break;
    node = child;
  }
  return node.rule;
}
