// Indices below are in range by construction; `!` keeps the hot lookups free of checks.
import { routerWith } from "../routing/create.js";
import { parseMap } from "../routing/fingerprint.js";
import type { Hasher } from "../routing/hash.js";
import type { ShardMap } from "../routing/map.js";
import type { PlanShard } from "./change.js";

/** Places keys by one map. Shards are indices in the store. */
export interface MapRouter {
  shardOf(key: Uint8Array): number;
  /** Shards that may hold keys of the range, ascending; as `Router.shardsOf`. */
  shardsOf(key: Uint8Array, rangeEnd: Uint8Array): readonly number[];
  /** Home shard of a lease ID. */
  homeOf(lease: bigint): number;
}

/**
 * Caches the routers of a store's maps by map text. Each map numbers its shards in its own order, while the
 * store's index of a shard never changes. Names connect the two.
 */
export class Maps {
  private readonly routers = new Map<string, MapRouter>();

  constructor(private readonly hasher: Hasher) {}

  /** Makes `router` the router of the map `text`, which must number the shards like the store: the store's first map does. */
  adopt(text: string, router: MapRouter): void {
    this.routers.set(text, router);
  }

  /** The router of a map. Throws a `ShardMapError` when `text` is not a map, a RangeError when the map names an unknown shard. */
  router(text: string, shards: readonly PlanShard[]): MapRouter {
    const known = this.routers.get(text);
    if (known !== undefined) return known;
    const map = parseMap(text);
    const router = routerWith(map, this.hasher);
    const indices = indicesOf(map, shards);
    if (indices.every((index, shard) => index === shard)) {
      this.routers.set(text, router);
      return router;
    }
    const mapped: MapRouter = {
      shardOf: (key) => indices[router.shardOf(key)]!,
      shardsOf: (key, rangeEnd) =>
        router
          .shardsOf(key, rangeEnd)
          .map((shard) => indices[shard]!)
          .sort((a, b) => a - b),
      homeOf: (lease) => indices[router.homeOf(lease)]!,
    };
    this.routers.set(text, mapped);
    return mapped;
  }
}

function indicesOf(map: ShardMap, shards: readonly PlanShard[]): number[] {
  return map.shards.map(({ name }) => {
    // Use the newest shard of that name: a replaced cluster may have had the name before.
    const index = shards.findLastIndex((shard) => shard.name === name);
    if (index < 0) throw new RangeError(`the store has no shard "${name}"`);
    return index;
  });
}
