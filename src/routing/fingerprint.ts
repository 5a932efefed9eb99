import { compareBytes, printable } from "./bytes.js";
import { Hasher } from "./hash.js";
import { type RoutingRule, rulesInForce, type ShardMap, ShardMapError } from "./map.js";

/** The identity of a shard map. */
export interface Fingerprint {
  /** The map as canonical JSON. `parseMap` reads it. */
  readonly text: string;
  /** xxh64 of `text`, unsigned. */
  readonly id: bigint;
}

/** Version of the placement algorithm (groups and hash). It is part of every fingerprint. */
const PLACEMENT_VERSION = 1;

/**
 * Returns the fingerprint of a shard map: shard names in order, weights, and the rules in force. The order of the
 * rules makes no difference, nor does writing out the default rules.
 */
export async function fingerprint(map: ShardMap): Promise<Fingerprint> {
  const text = JSON.stringify({
    version: PLACEMENT_VERSION,
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

/** Returns the map of a fingerprint's `text`. Throws `ShardMapError` if the text is malformed or of another version. */
export function parseMap(text: string): ShardMap {
  let parsed: {
    version: number;
    shards: ShardMap["shards"];
    rules: (Omit<RoutingRule, "prefix"> & { prefix: string })[];
  };
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new ShardMapError("not a shard map", { cause });
  }
  if (parsed?.version !== PLACEMENT_VERSION) {
    throw new ShardMapError(
      `the shard map has version ${parsed?.version}, this program knows ${PLACEMENT_VERSION}`,
    );
  }
  const rules = parsed.rules.map((rule) => ({
    ...rule,
    prefix: Uint8Array.from(Buffer.from(rule.prefix, "base64")),
  }));
  return { shards: parsed.shards, rules };
}

/** True if the texts are those of one map, or of maps that differ only in the order of the shards. So they place keys alike. */
export const areAlike = (text: string, other: string): boolean =>
  text === other || sortedText(text) === sortedText(other);

function sortedText(text: string): string {
  const map = JSON.parse(text) as { readonly shards: readonly { readonly name: string }[] };
  return JSON.stringify({ ...map, shards: map.shards.toSorted((a, b) => (a.name < b.name ? -1 : 1)) });
}

/** `map` with its shards in the order of `other`, as far as they are in it. */
export function inOrderOf(map: ShardMap, other: ShardMap): ShardMap {
  const places = new Map(other.shards.map(({ name }, place) => [name, place]));
  const placeOf = ({ name }: { readonly name: string }) => places.get(name) ?? places.size;
  return { ...map, shards: map.shards.toSorted((a, b) => placeOf(a) - placeOf(b)) };
}

/** One difference between two maps. */
export interface MapDifference {
  /** The difference in words. */
  readonly message: string;
  readonly of: "shards" | "weight" | "rule";
  /** The shard that differs, if it is in the second map. */
  readonly shard?: string;
  /** Prefix of the rule that differs. */
  readonly rule?: Uint8Array;
}

/** Describes each difference between two maps in words. Returns an empty list for equal maps. */
export function diffMaps(before: ShardMap, after: ShardMap): string[] {
  return compareMaps(before, after).map(({ message }) => message);
}

/** Returns the differences between two maps, with their locations. */
export function compareMaps(before: ShardMap, after: ShardMap): MapDifference[] {
  return [...diffShards(before, after), ...diffRules(rulesInForce(before), rulesInForce(after))];
}

function diffShards(before: ShardMap, after: ShardMap): MapDifference[] {
  const differences: MapDifference[] = [];
  const weights = new Map(before.shards.map(({ name, weight }) => [name, weight]));
  const names = new Set(after.shards.map(({ name }) => name));
  for (const { name } of before.shards)
    if (!names.has(name)) differences.push({ message: `shard ${name} is gone`, of: "shards" });
  for (const { name, weight } of after.shards) {
    const was = weights.get(name);
    if (was === undefined) differences.push({ message: `shard ${name} is new`, of: "shards", shard: name });
    else if (was !== weight) {
      const message = `shard ${name} has weight ${weight} instead of ${was}`;
      differences.push({ message, of: "weight", shard: name });
    }
  }
  const common = (map: ShardMap, other: ShardMap) =>
    map.shards.map(({ name }) => name).filter((name) => other.shards.some((shard) => shard.name === name));
  const was = common(before, after).join(", ");
  const is = common(after, before).join(", ");
  if (was !== is) {
    differences.push({ message: `the order of the shards is ${is} instead of ${was}`, of: "shards" });
  }
  return differences;
}

function diffRules(before: readonly RoutingRule[], after: readonly RoutingRule[]): MapDifference[] {
  const differences: MapDifference[] = [];
  const add = ({ prefix }: RoutingRule, message: string) =>
    differences.push({ message, of: "rule", rule: prefix });
  const find = (rules: readonly RoutingRule[], { prefix }: RoutingRule) =>
    rules.find((rule) => compareBytes(rule.prefix, prefix) === 0);
  for (const rule of before) {
    if (!find(after, rule)) add(rule, `the rule for ${name(rule)} (${describe(rule)}) is gone`);
  }
  for (const rule of after) {
    const was = find(before, rule);
    if (!was) add(rule, `the rule for ${name(rule)} (${describe(rule)}) is new`);
    else if (describe(was) !== describe(rule)) {
      add(rule, `the rule for ${name(rule)} is ${describe(rule)} instead of ${describe(was)}`);
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
