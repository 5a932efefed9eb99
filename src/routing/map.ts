import { compareBytes } from "./bytes.js";

/** One shard, as routing knows it. */
export interface ShardEntry {
  /** Unique. The name, not the position in the list, decides which groups the shard gets. */
  readonly name: string;
  /** Share of the groups relative to the other shards. Finite, above 0. */
  readonly weight: number;
}

/**
 * How keys that start with `prefix` form groups. `Grouping.groupEnd` has the exact definition. Only the matching
 * rule with the longest prefix applies.
 */
export interface RoutingRule {
  /** Any bytes, the first of them not zero. The empty prefix matches every key. */
  readonly prefix: Uint8Array;
  /** The byte between segments. */
  readonly delimiter: number;
  /** Number of segments after the prefix that belong to the group. With 0, all keys under the prefix are one group. */
  readonly segments: number;
  /** Name of the shard that all keys under the prefix are pinned to. Without it, the group's hash decides. */
  readonly shard?: string | undefined;
}

/** Everything that decides which shard a key is on. Shards are in configured order. */
export interface ShardMap {
  readonly shards: readonly ShardEntry[];
  /** In any order. Without a rule for the empty prefix, `DEFAULT_RULES` apply as well. */
  readonly rules: readonly RoutingRule[];
}

const SLASH = 0x2f;

/**
 * The rules for keys that no other rule matches. A group is one segment, with or without a leading slash:
 * `mylock/694d…` is in `mylock`, `/mylock/694d…` is in `/mylock`. Clients build the keys of locks, elections and
 * queues from a name and a slash, use them in one transaction, and so need them on one shard. Apache APISIX and
 * Kubernetes put everything under one name, in independent directories. They get one segment more, or the whole
 * store would be on one shard.
 */
export const DEFAULT_RULES: readonly RoutingRule[] = [
  { prefix: new Uint8Array(0), delimiter: SLASH, segments: 1 },
  { prefix: new TextEncoder().encode("/apisix/"), delimiter: SLASH, segments: 1 },
  { prefix: new TextEncoder().encode("/registry/"), delimiter: SLASH, segments: 1 },
];

/** An invalid shard map. The message says what is wrong. */
export class ShardMapError extends Error {
  override readonly name = "ShardMapError";
}

/**
 * Returns the rules in force, ascending by prefix: the map's own and, if it has none for the empty prefix, those of
 * `DEFAULT_RULES` whose prefix it does not use. Equal maps give equal lists.
 */
export function rulesInForce(map: ShardMap): readonly RoutingRule[] {
  const rules = [...map.rules];
  if (!rules.some((rule) => rule.prefix.length === 0)) {
    for (const rule of DEFAULT_RULES) {
      if (!rules.some((own) => compareBytes(own.prefix, rule.prefix) === 0)) rules.push(rule);
    }
  }
  return rules.sort((a, b) => compareBytes(a.prefix, b.prefix));
}
