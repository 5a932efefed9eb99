import { compareBytes, printable } from "./bytes.js";
import { Hasher } from "./hash.js";
import { type RoutingRule, rulesInForce, type ShardMap, ShardMapError } from "./map.js";

/** What tells one shard map from another. */
export interface Fingerprint {
  /** The map in one spelling, as JSON; `parseMap` reads it. */
  readonly text: string;
  /** xxh64 of `text`, unsigned. */
  readonly id: bigint;
}

/** Version of the placement itself (groups and hash), part of every fingerprint. */
const version = 1;

/**
 * The fingerprint of a shard map: names in order, weights and the rules in force. Rules in another order, or the
 * default rules written out, make no difference; everything else does.
 */
export async function fingerprint(map: ShardMap): Promise<Fingerprint> {
  const text = JSON.stringify({
    version,
    shards: map.shards.map(({ name, weight }) => ({ name, weight })),
    rules: rulesInForce(map).map(({ prefix, delimiter, segments, shard }) => ({
      prefix: Buffer.from(prefix).toString("base64"),
      delimiter,
      segments,
      ...(shard === undefined ? {} : { shard }),
    })),
  });
  const hasher = await Hasher.load();
  return { text, id: hasher.hash(new TextEncoder().encode(text)) };
}

/** The map of a fingerprint's `text`. Throws `ShardMapError` for a text of another version or of no fingerprint. */
export function parseMap(text: string): ShardMap {
  let parsed: {
    version: number;
    shards: ShardMap["shards"];
    rules: (Omit<RoutingRule, "prefix"> & { prefix: string })[];
  };
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new ShardMapError("this is no shard map", { cause });
  }
  if (parsed?.version !== version) {
    throw new ShardMapError(`the shard map has version ${parsed?.version}, this program knows ${version}`);
  }
  const rules = parsed.rules.map((rule) => ({
    ...rule,
    prefix: Uint8Array.from(Buffer.from(rule.prefix, "base64")),
  }));
  return { shards: parsed.shards, rules };
}

/** What differs from map `before` to map `after`, one sentence for people each; empty when they are the same map. */
export function diffMaps(before: ShardMap, after: ShardMap): string[] {
  return [...diffShards(before, after), ...diffRules(rulesInForce(before), rulesInForce(after))];
}

function diffShards(before: ShardMap, after: ShardMap): string[] {
  const differences: string[] = [];
  const weights = new Map(before.shards.map(({ name, weight }) => [name, weight]));
  const names = new Set(after.shards.map(({ name }) => name));
  for (const { name } of before.shards) if (!names.has(name)) differences.push(`shard ${name} is gone`);
  for (const { name, weight } of after.shards) {
    const was = weights.get(name);
    if (was === undefined) differences.push(`shard ${name} is new`);
    else if (was !== weight) differences.push(`shard ${name} has weight ${weight} instead of ${was}`);
  }
  const common = (map: ShardMap, other: ShardMap) =>
    map.shards.map(({ name }) => name).filter((name) => other.shards.some((shard) => shard.name === name));
  const was = common(before, after).join(", ");
  const is = common(after, before).join(", ");
  if (was !== is) differences.push(`the order of the shards is ${is} instead of ${was}`);
  return differences;
}

function diffRules(before: readonly RoutingRule[], after: readonly RoutingRule[]): string[] {
  const differences: string[] = [];
  const find = (rules: readonly RoutingRule[], { prefix }: RoutingRule) =>
    rules.find((rule) => compareBytes(rule.prefix, prefix) === 0);
  for (const rule of before) {
    if (!find(after, rule)) differences.push(`the rule for ${name(rule)} (${describe(rule)}) is gone`);
  }
  for (const rule of after) {
    const was = find(before, rule);
    if (!was) differences.push(`the rule for ${name(rule)} (${describe(rule)}) is new`);
    else if (describe(was) !== describe(rule)) {
      differences.push(`the rule for ${name(rule)} is ${describe(rule)} instead of ${describe(was)}`);
    }
  }
  return differences;
}

function name({ prefix }: RoutingRule): string {
  return prefix.length === 0 ? "all other keys" : `prefix "${printable(prefix)}"`;
}

function describe({ delimiter, segments, shard }: RoutingRule): string {
  const grouping = `delimiter "${printable(Uint8Array.of(delimiter))}", segments ${segments}`;
  return shard === undefined ? grouping : `${grouping}, shard ${shard}`;
}
