import { commonPrefix } from "../routing/bytes.js";
import { Grouping } from "../routing/groups.js";
import { type RoutingRule, rulesInForce, type ShardMap } from "../routing/map.js";
import { buildTrie, ruleOf, type TrieNode } from "../routing/trie.js";
import { type Bound, compareBounds, endOfPrefix, START } from "./bound.js";

/** A range of keys [from, to) that no boundary may split. */
interface Region {
  readonly from: Bound;
  readonly to: Bound;
}

/**
 * The bounds at which a sweep between maps may stop. They split no group of any map, and no region that a rule pins to a
 * shard. So a transaction that both maps allow stays allowed throughout a plan.
 *
 * With the delimiter `d`, the keys of a group `g` are `g` itself and the keys that begin with `g` and `d`. They lie between
 * `g` and `g` followed by the byte after `d`. Other groups may lie between them: `/a/b-1` is between `/a/b` and `/a/b/c`.
 */
export class Boundaries {
  private readonly maps: readonly MapRules[];
  private readonly pinned: readonly Region[];

  constructor(maps: readonly ShardMap[]) {
    const rules = maps.map(rulesInForce);
    this.maps = rules.map((list) => new MapRules(list));
    this.pinned = rules
      .flat()
      .filter(({ shard }) => shard !== undefined)
      .map(({ prefix }) => under(prefix));
  }

  /** The lowest boundary at or above `place`. */
  above(place: Bound): Bound {
    let at = place;
    for (let region = this.regionAround(at); region !== undefined; region = this.regionAround(at))
      at = region.to;
    return at;
  }

  /** The highest boundary at or below `place`. */
  below(place: Bound): Bound {
    let at = place;
    for (let region = this.regionAround(at); region !== undefined; region = this.regionAround(at))
      at = region.from;
    return at;
  }

  /** A region that `place` would split. */
  private regionAround(place: Bound): Region | undefined {
    if (place === null) return undefined;
    const splits = (region: Region | undefined): region is Region =>
      region !== undefined && compareBounds(region.from, place) < 0 && compareBounds(place, region.to) < 0;
    const pinned = this.pinned.find(splits);
    if (pinned !== undefined) return pinned;
    for (const map of this.maps) {
      for (let length = 0; length < place.length; length++) {
        const region = map.region(place.subarray(0, length));
        if (splits(region)) return region;
      }
    }
    return undefined;
  }
}

/** The rules of one map, and the trie that finds the rule of a key. */
class MapRules {
  private readonly rules: readonly Grouping[];
  private readonly root: TrieNode;

  constructor(rules: readonly RoutingRule[]) {
    this.rules = rules.map((rule) => new Grouping(rule, -1));
    this.root = buildTrie(this.rules);
  }

  /** The region of the group `name` under all rules together; undefined when no rule can form that group. */
  region(name: Uint8Array): Region | undefined {
    let hull: Region | undefined;
    for (const rule of this.rules) {
      const region = this.regionBy(rule, name);
      if (region === undefined) continue;
      hull ??= region;
      hull = {
        from: compareBounds(region.from, hull.from) < 0 ? region.from : hull.from,
        to: compareBounds(region.to, hull.to) > 0 ? region.to : hull.to,
      };
    }
    return hull;
  }

  /** The region of the keys that `rule` puts into the group `name`; undefined when there are none. */
  private regionBy(rule: Grouping, name: Uint8Array): Region | undefined {
    const { prefix } = rule.rule;
    const shared = commonPrefix(prefix, name);
    if (shared < prefix.length && shared < name.length) return undefined;
    const isTrimmed = rule.trimmedPrefix === name.length;
    if (rule.segments === 0) return isTrimmed ? under(prefix) : undefined;
    // Only keys that continue with nothing but delimiters.
    if (shared < prefix.length) return isTrimmed ? { from: prefix, to: beyond(prefix, rule) } : undefined;
    if (rule.groupEnd(name) !== name.length) return undefined;
    const longer = Uint8Array.of(...name, rule.delimiter);
    const isAlone = ruleOf(this.root, longer) !== rule;
    if (isAlone) return name.length === 0 ? undefined : { from: name.slice(), to: Uint8Array.of(...name, 0) };
    const from = name.length === 0 ? longer : name.slice();
    // With fewer segments than the rule counts, the group's keys continue with delimiters only.
    const isClosed = rule.closedEnd(longer, longer.length) >= 0;
    return { from, to: isClosed ? beyond(name, rule) : beyond(longer, rule) };
  }
}

/** The region of all keys that begin with `prefix`. */
const under = (prefix: Uint8Array): Region => ({
  from: prefix.length === 0 ? START : prefix,
  to: endOfPrefix(prefix),
});

/** The lowest bound above every key that begins with `name` and the rule's delimiter. */
const beyond = (name: Uint8Array, { delimiter }: Grouping): Bound =>
  endOfPrefix(Uint8Array.of(...name, delimiter));
