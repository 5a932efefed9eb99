import type { Grouping } from "./groups.js";

/** A node of the byte trie that the rules' prefixes make. */
export class TrieNode {
  /** The rule in force for keys that leave the trie here: the longest prefix on the way. */
  rule: Grouping;
  /** Ascending indices of the shards that a key beginning with this node's path can have. */
  reach: readonly number[] = [];
  #low = 0;
  #children: (TrieNode | undefined)[] = [];

  constructor(rule: Grouping) {
    this.rule = rule;
  }

  get isLeaf(): boolean {
    return this.#children.length === 0;
  }

  child(byte: number): TrieNode | undefined {
    const at = byte - this.#low;
    return at >= 0 && at < this.#children.length ? this.#children[at] : undefined;
  }

  /** The bytes that have children, ascending. */
  bytes(): number[] {
    const bytes: number[] = [];
    this.#children.forEach((child, at) => {
      if (child) bytes.push(this.#low + at);
    });
    return bytes;
  }

  setChild(byte: number, child: TrieNode): void {
    const bytes = [...this.bytes(), byte];
    const low = Math.min(...bytes);
    const children = new Array<TrieNode | undefined>(Math.max(...bytes) - low + 1).fill(undefined);
    for (const each of bytes) children[each - low] = each === byte ? child : this.child(each);
    this.#low = low;
    this.#children = children;
  }
}

/** The trie of `rules`, given in ascending order of their prefixes, the first of them empty. */
export function buildTrie(rules: readonly Grouping[]): TrieNode {
  const root = new TrieNode(rules[0]);
  for (const rule of rules.slice(1)) {
    let node = root;
    for (const byte of rule.rule.prefix) {
      let child = node.child(byte);
      if (!child) {
        // A shorter prefix comes first in the order, so its rule is in force here already.
        child = new TrieNode(node.rule);
        node.setChild(byte, child);
      }
      node = child;
    }
    node.rule = rule;
  }
  return root;
}

/** The rule in force for `key`. */
export function ruleOf(root: TrieNode, key: Uint8Array): Grouping {
  let node = root;
  for (let i = 0; i < key.length; i++) {
    const child = node.child(key[i]);
    if (!child) break;
    node = child;
  }
  return node.rule;
}
