// Indices below are in range by construction; `!` keeps the hot path free of checks.

import { commonPrefix, compareBytes, printable } from "./bytes.js";
import { Cover, Cursor } from "./cover.js";
import { GroupCache } from "./groupCache.js";
import { Grouping } from "./groups.js";
import { Hasher } from "./hash.js";
import { type RoutingRule, rulesInForce, type ShardMap, ShardMapError } from "./map.js";
import { Rendezvous } from "./rendezvous.js";
import type { Router } from "./router.js";
import { buildTrie, ruleOf, type TrieNode } from "./trie.js";

/** Why a key is on its shard. */
export interface Explanation {
  readonly rule: RoutingRule;
  /** The key's routing group, a prefix of the key. */
  readonly group: Uint8Array;
  /** xxh64 of the group, unsigned. Unused if the rule names a shard. */
  readonly hash: bigint;
  readonly shard: number;
}

export interface Explain {
  explain(key: Uint8Array): Explanation;
}

/** Most shards in one map. */
export const MAX_SHARDS = 255;

/**
 * Creates the router of a shard map. This is asynchronous because the hash is WebAssembly; the router itself is
 * synchronous and pure. Rejects with `ShardMapError` for an invalid map.
 */
export async function createRouter(map: ShardMap): Promise<Router & Explain> {
  return routerWith(map, await Hasher.load());
}

/** The same with a hash that is loaded already. */
export function routerWith(map: ShardMap, hasher: Hasher): Router & Explain {
  validate(map);
  return new MapRouter(map, hasher);
}

class MapRouter implements Router, Explain {
  readonly shardCount: number;
  private readonly hasher: Hasher;
  private readonly rendezvous: Rendezvous;
  private readonly root: TrieNode;
  private readonly all: readonly number[];
  /** The list of each shard alone. */
  private readonly alone: readonly (readonly number[])[];
  private readonly cache = new GroupCache();
  private readonly lease = new Uint8Array(8);
  private readonly leaseView = new DataView(this.lease.buffer);

  constructor(map: ShardMap, hasher: Hasher) {
    this.shardCount = map.shards.length;
    this.hasher = hasher;
    this.rendezvous = new Rendezvous(map.shards, hasher);
    this.all = Object.freeze(map.shards.map((_, shard) => shard));
    this.alone = this.all.map((shard) => Object.freeze([shard]));
    const index = new Map(map.shards.map(({ name }, shard) => [name, shard]));
    const pin = ({ shard }: RoutingRule) => (shard === undefined ? -1 : index.get(shard)!);
    this.root = buildTrie(rulesInForce(map).map((rule) => new Grouping(rule, pin(rule))));
    this.setReach(this.root, []);
  }

  shardOf(key: Uint8Array): number {
    const rule = ruleOf(this.root, key);
    if (rule.pin >= 0) return rule.pin;
    const end = rule.groupEnd(key);
    const known = this.cache.find(key, end);
    if (known >= 0) return known;
    const group = key.subarray(0, end);
    const shard = this.place(group);
    this.cache.remember(group, shard);
    return shard;
  }

  shardsOf(key: Uint8Array, rangeEnd: Uint8Array): readonly number[] {
    if (rangeEnd.length === 0) return isReserved(key) ? [] : this.alone[this.shardOf(key)]!;
    const low = isReserved(key) ? FIRST_KEY : key;
    const high = rangeEnd.length === 1 && rangeEnd[0] === 0 ? undefined : rangeEnd;
    if (high) {
      if (compareBytes(low, high) >= 0) return [];
      const shard = this.onlyShard(low, high);
      if (shard >= 0) return this.alone[shard]!;
    }
    const cover = this.newCover();
    cover.addRange(this.root, low, high);
    return cover.complete ? this.all : cover.shards();
  }

  homeOf(lease: bigint): number {
    this.leaseView.setBigInt64(0, lease);
    return this.place(this.lease);
  }

  explain(key: Uint8Array): Explanation {
    const rule = ruleOf(this.root, key);
    const group = key.subarray(0, rule.groupEnd(key));
    return { rule: rule.rule, group, hash: this.hasher.hash(group), shard: this.shardOf(key) };
  }

  /** Handles the common case, a range within one group or one pinned prefix. Returns -1 when only a `Cover` can decide. */
  private onlyShard(low: Uint8Array, high: Uint8Array): number {
    let shared = commonPrefix(low, high);
    // All keys of [`/a/x`, `/a0`) begin with `/a/`.
    if (shared < low.length && high.length === shared + 1 && high[shared] === low[shared]! + 1) shared++;
    let node = this.root;
    for (let i = 0; i < shared; i++) {
      const child = node.child(low[i]!);
      if (!child) return this.closedShard(node.rule, low, shared);
      node = child;
    }
    return node.isLeaf ? this.closedShard(node.rule, low, shared) : -1;
  }

  private closedShard(rule: Grouping, key: Uint8Array, length: number): number {
    if (rule.pin >= 0) return rule.pin;
    const end = rule.closedEnd(key, length);
    return end < 0 ? -1 : this.place(key.subarray(0, end));
  }

  private place(group: Uint8Array): number {
    this.hasher.update(group);
    return this.rendezvous.pick(this.hasher.high, this.hasher.low);
  }

  private newCover(): Cover {
    return new Cover(this.shardCount, (group) => this.place(group));
  }

  /** Sets `reach` of the node at `path`, after that of all nodes below it. */
  private setReach(node: TrieNode, path: readonly number[]): void {
    for (const byte of node.bytes()) this.setReach(node.child(byte)!, [...path, byte]);
    const key = Uint8Array.from(path);
    const cursor = new Cursor(this.root);
    while (cursor.position < key.length) cursor.step(key);
    const cover = this.newCover();
    if (path.length > 0) cover.addKey(cursor, key);
    cover.addChildren(cursor, key, path.length > 0 ? 0 : 1, 255);
    node.reach = cover.shards();
  }
}

const FIRST_KEY = Uint8Array.of(1);

/** True for the empty key, which etcd does not allow, and for the reserved keyspace. */
function isReserved(key: Uint8Array): boolean {
  return key.length === 0 || key[0] === 0;
}

function validate({ shards, rules }: ShardMap): void {
  const fail = (text: string): never => {
    throw new ShardMapError(text);
  };
  if (shards.length === 0) fail("no shards");
  if (shards.length > MAX_SHARDS) fail(`${shards.length} shards, at most ${MAX_SHARDS} are allowed`);
  const names = new Set<string>();
  for (const { name, weight } of shards) {
    if (names.has(name)) fail(`two shards are named "${name}"`);
    names.add(name);
    if (!(weight > 0 && Number.isFinite(weight))) fail(`shard "${name}": the weight must be above 0`);
  }
  const prefixes = new Set<string>();
  for (const { prefix, delimiter, segments, shard } of rules) {
    const text = printable(prefix);
    if (prefixes.has(text)) fail(`two rules for the prefix "${text}"`);
    prefixes.add(text);
    if (prefix[0] === 0) fail(`rule "${text}": keys that begin with a zero byte are reserved`);
    if (!(Number.isInteger(delimiter) && delimiter >= 0 && delimiter <= 255)) {
      fail(`rule "${text}": the delimiter is not one byte`);
    }
    if (!(Number.isInteger(segments) && segments >= 0)) fail(`rule "${text}": segments must be 0 or more`);
    if (shard !== undefined && !names.has(shard)) fail(`rule "${text}": there is no shard "${shard}"`);
  }
}
