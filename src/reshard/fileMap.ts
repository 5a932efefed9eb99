import { areAlike } from "../routing/fingerprint.js";
import type { PlacementState } from "./placement.js";

/**
 * What the map of a proxy's file is to the store. `in force`: the store uses it. `coming`: the active plan leads to it.
 * `earlier`: the store has used it, or a plan to it was turned back. `unknown`: none of these.
 */
export type MapVerdict = "in force" | "coming" | "earlier" | "unknown";

/**
 * Compares the map of a proxy's file with the store's, whatever the order of its shards. A proxy may follow the store unless its
 * map is unknown.
 */
export function judgeMap(
  map: string,
  { inForce, plan, earlier }: Pick<PlacementState, "inForce" | "plan" | "earlier">,
): MapVerdict {
  if (areAlike(map, inForce)) return "in force";
  if (plan !== undefined && (areAlike(map, plan.below) || areAlike(map, plan.above))) {
    // Both maps of the plan place keys. A plan that was turned back goes down, to the map in force.
    return plan.up ? "coming" : "earlier";
  }
  return earlier.some((each) => areAlike(map, each)) ? "earlier" : "unknown";
}
