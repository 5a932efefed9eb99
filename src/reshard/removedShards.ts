import { parseMap } from "../routing/fingerprint.js";
import type { PlacementState } from "./placement.js";

/** A shard that is in no map that places keys now. */
export interface RemovedShard {
  /** Index in the store. */
  readonly index: number;
  readonly name: string;
  /**
   * The revision of the newest move that took keys from it or to it; undefined once a compaction has passed that. Until then, the
   * shard has to answer reads and watches of older revisions.
   */
  readonly lastMove: number | undefined;
}

/** The shards that the store has had, and that neither the map in force nor the active plan has. */
export function removedShards({
  shards,
  inForce,
  plan,
  moves,
}: Pick<PlacementState, "shards" | "inForce" | "plan" | "moves">): readonly RemovedShard[] {
  const maps = plan === undefined ? [inForce] : [inForce, plan.below, plan.above];
  const named = new Set(maps.flatMap((text) => parseMap(text).shards.map(({ name }) => name)));
  return shards.flatMap(({ name }, index) => {
    if (named.has(name)) return [];
    const move = moves.findLast(({ stops, readies }) => stops.has(index) || readies.has(index));
    return [{ index, name, lastMove: move?.revision }];
  });
}
