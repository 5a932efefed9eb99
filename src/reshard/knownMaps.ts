import { type Explain, routerWith } from "../routing/create.js";
import { parseMap } from "../routing/fingerprint.js";
import type { Hasher } from "../routing/hash.js";
import type { ShardMap } from "../routing/map.js";
import { compareBounds } from "./bound.js";
import type { PlacementState } from "./placement.js";

export interface KnownMap {
  readonly map: ShardMap;
  readonly router: Explain;
}

/** The part of the timeline that says which maps are in force. */
interface Placed {
  readonly placement: Readonly<Pick<PlacementState, "inForce" | "plan">>;
}

/** The maps of a store's placement, each with what explains it. */
export class KnownMaps {
  /** The maps of the moment, at most three, by their text. */
  private known = new Map<string, KnownMap>();

  constructor(
    private readonly placed: Placed,
    private readonly hasher: Hasher,
  ) {}

  /** The map that places `key` now. */
  of(key: Uint8Array): KnownMap {
    const { plan, inForce } = this.placed.placement;
    if (plan === undefined) return this.find(inForce);
    return this.find(compareBounds(key, plan.cursor) < 0 ? plan.below : plan.above);
  }

  /** The map with this text, which must be one of the placement. */
  find(text: string): KnownMap {
    const known = this.known.get(text);
    if (known !== undefined) return known;
    const map = parseMap(text);
    const found = { map, router: routerWith(map, this.hasher) };
    const { plan, inForce } = this.placed.placement;
    const current = new Set(plan === undefined ? [inForce] : [inForce, plan.below, plan.above]);
    this.known = new Map([...this.known].filter(([each]) => current.has(each)).concat([[text, found]]));
    return found;
  }
}
