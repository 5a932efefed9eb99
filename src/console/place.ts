import { compareBounds } from "../reshard/bound.js";
import { KnownMaps } from "../reshard/knownMaps.js";
import type { Locator } from "../reshard/locator.js";
import type { PlacementState } from "../reshard/placement.js";
import { printable } from "../routing/bytes.js";
import { compareMaps } from "../routing/fingerprint.js";
import type { Hasher } from "../routing/hash.js";
import { type RoutingRule, rulesInForce, type ShardMap } from "../routing/map.js";
import { encodeBytes } from "./bytes.js";
import type { PlaceReport, RuleReport } from "./report.js";

/** The part of the timeline that says where keys are. */
export interface Placed {
  readonly locator: Pick<Locator, "isInFrozenStep">;
  readonly placement: Readonly<PlacementState>;
}

/** Explains where keys are, by the maps in force. */
export class Places {
  private readonly maps: KnownMaps;

  constructor(
    private readonly timeline: Placed,
    hasher: Hasher,
  ) {
    this.maps = new KnownMaps(timeline, hasher);
  }

  explain(key: Uint8Array): PlaceReport {
    const { plan, inForce } = this.timeline.placement;
    if (plan === undefined) return { ...this.by(inForce, key), move: null };
    const isBelow = compareBounds(key, plan.cursor) < 0;
    const [below, above] = [this.by(plan.below, key), this.by(plan.above, key)];
    const now = isBelow ? below : above;
    if (below.shard === above.shard) return { ...now, move: null };
    // After a turn back, keys move from the map below the cursor to that above it.
    const [from, to] = plan.up ? [above, below] : [below, above];
    const waits = this.timeline.locator.isInFrozenStep(key);
    return { ...now, move: { from: from.shard, to: to.shard, isDone: isBelow === plan.up, waits } };
  }

  /** The map that decides, or during a plan the map that keys move to. */
  get map(): ShardMap {
    const { plan, inForce } = this.timeline.placement;
    return this.maps.find(plan === undefined ? inForce : plan.up ? plan.below : plan.above).map;
  }

  /** The rules in force, of which those are left out whose prefix may not be shown. */
  rules(isShown: (prefix: Uint8Array) => boolean): RuleReport[] {
    const shown = rulesInForce(this.map).filter(({ prefix }) => isShown(prefix));
    return shown.map((rule) => ({
      prefix: printable(rule.prefix),
      text: ruleText(rule),
      shard: rule.shard ?? null,
    }));
  }

  /** What the active plan changes, in words. */
  get changes(): string[] {
    const { plan } = this.timeline.placement;
    if (plan === undefined) return [];
    const [old, target] = plan.up ? [plan.above, plan.below] : [plan.below, plan.above];
    return compareMaps(this.maps.find(old).map, this.maps.find(target).map).map(({ message }) => message);
  }

  private by(text: string, key: Uint8Array): Omit<PlaceReport, "move"> {
    const { map, router } = this.maps.find(text);
    const { group, hash, rule, shard } = router.explain(key);
    return {
      shard: map.shards[shard]?.name ?? "",
      group: encodeBytes(group),
      hash: hash.toString(16).padStart(16, "0"),
      rule: ruleText(rule),
      isPinned: rule.shard !== undefined,
    };
  }
}

/** How a rule forms groups, in words. */
function ruleText({ prefix, delimiter, segments, shard }: RoutingRule): string {
  const where = prefix.length === 0 ? "every other key" : `prefix "${printable(prefix)}"`;
  if (shard !== undefined) return `${where}: pinned to ${shard}`;
  if (segments === 0) return `${where}: one group`;
  const delimiterText = printable(Uint8Array.of(delimiter));
  return `${where}: ${segments} segment${segments === 1 ? "" : "s"} by "${delimiterText}"`;
}
