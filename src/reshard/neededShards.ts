import { parseMap } from "../routing/fingerprint.js";
import type { PlanShard } from "./change.js";
import type { PlacementState } from "./placement.js";

/** Indices in the store of the shards that the map with the text `map` names. Names that the store does not have are left out. */
export function shardsOfMap(map: string, shards: readonly PlanShard[]): readonly number[] {
  // As in `Maps`: a replaced cluster may have had the name before.
  const indices = parseMap(map).shards.map(({ name }) =>
    shards.findLastIndex((shard) => shard.name === name),
  );
  return indices.filter((index) => index >= 0);
}

/** The shards of the map in force, and of both maps of an active plan. Only these can have parts of leases. */
export function mappedShards({
  shards,
  inForce,
  plan,
}: Pick<PlacementState, "shards" | "inForce" | "plan">): ReadonlySet<number> {
  const maps = plan === undefined ? [inForce] : [plan.below, plan.above];
  return new Set(maps.flatMap((map) => shardsOfMap(map, shards)));
}

/**
 * The shards that a proxy has to reach, ascending: those of the map in force and of both maps of an active plan, and those that
 * took part in a move that no compaction has passed.
 */
export function neededShards(
  placement: Pick<PlacementState, "shards" | "inForce" | "plan" | "moves">,
): readonly number[] {
  const needed = new Set(mappedShards(placement));
  for (const { stops, readies } of placement.moves) {
    for (const shard of [...stops.keys(), ...readies.keys()]) needed.add(shard);
  }
  return [...needed].sort((a, b) => a - b);
}
