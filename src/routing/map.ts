import { compareBytes } from "./bytes.js";

/** One shard as routing sees it. */
export interface ShardEntry {
  /** Unique. The name, not the place in the list, decides which groups the shard gets. */
  readonly name: string;
  /** Share of the groups relative to the other shards; finite and > 0. */
  readonly weight: number;
}

/**
 * How keys that begin with `prefix` are put into groups; see `groupEnd` for the exact definition. Of several
 * matching rules the one with the longest prefix counts, alone.
 */
export interface RoutingRule {
  /** Any bytes, the first of them not zero; empty matches every key. */
  readonly prefix: Uint8Array;
  /** The byte between segments. */
  readonly delimiter: number;
  /** How many segments after the prefix belong to the group: an integer >= 0; with 0 the prefix is one group. */
  readonly segments: number;
  /** Name of the shard that every key under the prefix is pinned to; without it the group's hash decides. */
  readonly shard?: string | undefined;
}

/** Everything that decides where a key lives. Shards are in configured order. */
export interface ShardMap {
  readonly shards: readonly ShardEntry[];
  /** In any order. Without a rule for the empty prefix, `defaultRules` apply as well. */
  readonly rules: readonly RoutingRule[];
}

export const slash = 0x2f;

/**
 * The rules for keys that nothing else matches. One segment, with or without a slash before it (`mylock/694d…` is in
 * `mylock`, `/mylock/694d…` in `/mylock`), because what clients build from a name and a slash (locks, elections,
 * queues) is used in one transaction and has to stay together. Two well-known layouts put everything below one name,
 * in directories that each stand alone: those get one segment more, or the whole store would be on one shard.
 */
export const defaultRules: readonly RoutingRule[] = [
  { prefix: new Uint8Array(0), delimiter: slash, segments: 1 },
  { prefix: new TextEncoder().encode("/apisix/"), delimiter: slash, segments: 1 },
  { prefix: new TextEncoder().encode("/registry/"), delimiter: slash, segments: 1 },
];

/** A shard map that makes no sense; the message says why. */
export class ShardMapError extends Error {
  override readonly name = "ShardMapError";
}

/**
 * The rules that are in force: the map's own and, where it has none for the empty prefix, those of
 * `defaultRules` whose prefix it does not use itself. Ascending by prefix, so that equal maps give equal lists.
 */
export function rulesInForce(map: ShardMap): readonly RoutingRule[] {
  const rules = [...map.rules];
  if (!rules.some((rule) => rule.prefix.length === 0)) {
    for (const rule of defaultRules) {
      if (!rules.some((own) => compareBytes(own.prefix, rule.prefix) === 0)) rules.push(rule);
    }
  }
  return rules.sort((a, b) => compareBytes(a.prefix, b.prefix));
}
