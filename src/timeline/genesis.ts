import { encodeBase, type NewBase, PART_SIZES, placementOf } from "./base.js";
import { Fold } from "./fold.js";
import type { LogHost } from "./host.js";
import { BASE_KEY, TAIL_KEY } from "./keys.js";
import { FIRST_EPOCH } from "./recover.js";

/** What the first base of a store is made from. */
export interface GenesisOptions {
  readonly host: LogHost;
  /** Index of the shard that is the timeline host; -1 when the host is not a shard. */
  readonly hostShard: number;
  /** The shard map as canonical text. */
  readonly map: string;
  /** The endpoints of shards by name, for the first base. */
  readonly endpoints?: ReadonlyMap<string, readonly string[]>;
  /** Reads where each shard is, linearizably, after all clusters were marked. Called once in the life of a store. */
  genesis(): Promise<Genesis>;
}

/** The state of the shards when a store is made. */
export interface Genesis {
  /** The newest revision of each shard. */
  readonly revisions: readonly number[];
  /** Shard revisions taken by the marks of each shard, ascending. */
  readonly omitted?: readonly (readonly number[])[];
  /** Cluster id of each shard, decimal. */
  readonly clusterIds: readonly string[];
  /** See `Base`. */
  readonly store?: string;
}

/**
 * Writes the first base of a store: one segment per shard for the data that exists already. Another proxy may be faster,
 * but the host has a base afterwards. Rejects with UNAVAILABLE when a shard or the host cannot be reached.
 */
export async function beginLog(options: GenesisOptions): Promise<void> {
  const { host, hostShard, map } = options;
  const { revisions, omitted, clusterIds, store } = await options.genesis();
  const fold = Fold.genesis(revisions.length, hostShard);
  // Not a revision of the log itself, but below all of them.
  const covers = revisions[hostShard] ?? 0;
  // gen, which is in the mark, protects a sole store from programs that do not know its end.
  const isSole = revisions.length === 1 && hostShard === 0 && store !== undefined;
  for (const [shard, reached] of revisions.entries()) {
    const own = omitted?.[shard] ?? [];
    // Clients may know the revisions of a sole store from the shard itself.
    const isEmpty = reached <= own.length + 1;
    fold.begin(shard, reached, isSole && !isEmpty ? [] : own);
  }
  // Above format 1, puts may carry entries: programs that know only format 1 would not understand these.
  const format = isSole ? 0 : store === undefined ? 1 : 2;
  const base: NewBase = {
    format,
    epoch: FIRST_EPOCH,
    covers,
    segmentParts: [],
    segmentsInParts: 0,
    generation: 1,
    prunedCount: 0,
    prunedAt: 0,
    map,
    clusterIds,
    ...(format === 2 && { placement: { importParts: [], importsInParts: [] } }),
    ...(store !== undefined && { store }),
  };
  const placement = placementOf(map, clusterIds);
  placement.shards = placement.shards.map((shard) => ({
    ...shard,
    endpoints: options.endpoints?.get(shard.name) ?? [],
  }));
  const state = { timeline: fold.snapshot(), placement, positionOffset: 0 };
  const { value } = encodeBase(base, state, PART_SIZES.bytes, () => "");
  await host.commit(
    0,
    [
      { key: BASE_KEY.toString("latin1"), value },
      { key: TAIL_KEY.toString("latin1"), value: Buffer.alloc(0) },
    ],
    [],
  );
}
