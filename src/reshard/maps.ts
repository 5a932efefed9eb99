import { routerWith } from "../routing/create.js";
import { parseMap } from "../routing/fingerprint.js";
import type { Hasher } from "../routing/hash.js";
import type { ShardMap } from "../routing/map.js";
import { Boundaries } from "./boundaries.js";
import type { PlanShard } from "./change.js";

/** Where a map puts keys, in the store's shard indices. */
export interface MapRouter {
  shardOf(key: Uint8Array): number;
  /** Shards that can hold a key of the range, ascending; as `Router.shardsOf`. */
  shardsOf(key: Uint8Array, rangeEnd: Uint8Array): readonly number[];
  /** Home shard of a lease id. */
  homeOf(lease: bigint): number;
}

/**
 * The maps of a store, by their texts. A map names its shards, in an order of its own; the store's index of a shard never
 * changes, so the names lead from one to the other.
 */
export class Maps {
  private readonly routers = new Map<string, MapRouter>();
  private readonly boundaries = new Map<string, Boundaries>();

  constructor(private readonly hasher: Hasher) {}

  /** The router of a map. Throws `ShardMapError` for a text that is no map, a RangeError when a shard of it is not known. */
  router(text: string, shards: readonly PlanShard[]): MapRouter {
    const known = this.routers.get(text);
    if (known !== undefined) return known;
    const map = parseMap(text);
    const router = routerWith(map, this.hasher);
    const indices = indicesOf(map, shards);
    const mapped: MapRouter = {
      shardOf: (key) => indices[router.shardOf(key)],
      shardsOf: (key, rangeEnd) =>
        router
          .shardsOf(key, rangeEnd)
          .map((shard) => indices[shard])
          .sort((a, b) => a - b),
      homeOf: (lease) => indices[router.homeOf(lease)],
    };
    this.routers.set(text, mapped);
    return mapped;
  }

  /** Where a sweep between two maps may stop. */
  boundariesOf(below: string, above: string): Boundaries {
    const name = JSON.stringify([below, above]);
    let known = this.boundaries.get(name);
    if (known === undefined) {
      known = new Boundaries([parseMap(below), parseMap(above)]);
      this.boundaries.set(name, known);
    }
    return known;
  }
}

function indicesOf(map: ShardMap, shards: readonly PlanShard[]): number[] {
  return map.shards.map(({ name }) => {
    // The newest of its name: a cluster that was replaced may have had it before.
    const index = shards.findLastIndex((shard) => shard.name === name);
    if (index < 0) throw new RangeError(`the store has no shard "${name}"`);
    return index;
  });
}
