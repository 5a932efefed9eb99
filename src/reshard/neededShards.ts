import { parseMap } from "../routing/fingerprint.js";
import type { PlacementState } from "./placement.js";

/**
 * The shards that a proxy has to reach, ascending: those of the map in force and of both maps of an active plan, and those that
 * took part in a move that no compaction has passed. Other shards can still have parts of leases.
 */
export function neededShards({
  shards,
  inForce,
  plan,
  moves,
}: Pick<PlacementState, "shards" | "inForce" | "plan" | "moves">): readonly number[] {
  const needed = new Set<number>();
  const maps = plan === undefined ? [inForce] : [inForce, plan.below, plan.above];
  for (const { name } of maps.flatMap((text) => parseMap(text).shards)) {
    // As in `Maps`: a replaced cluster may have had the name before.
    const index = shards.findLastIndex((shard) => shard.name === name);
    if (index >= 0) needed.add(index);
  }
  for (const { stops, readies } of moves) {
    for (const shard of [...stops.keys(), ...readies.keys()]) needed.add(shard);
  }
  return [...needed].sort((a, b) => a - b);
}
