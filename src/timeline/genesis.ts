import { type Base, encodeBase, PART_SIZES } from "./base.js";
import { Fold } from "./fold.js";
import type { LogHost } from "./host.js";
import { BASE_KEY, TAIL_KEY } from "./keys.js";

/** What a store begins with. */
export interface GenesisOptions {
  readonly host: LogHost;
  /** Index of the shard that is the host, or -1. */
  readonly hostShard: number;
  readonly map: string;
  /** Where each shard stands, read linearizably after all clusters were marked: asked once in the life of a store. */
  genesis(): Promise<Genesis>;
}

export interface Genesis {
  /** The newest revision of each shard. */
  readonly revisions: readonly number[];
  /** Revisions of each shard that its marks have taken, ascending. */
  readonly omitted?: readonly (readonly number[])[];
  /** Cluster id of each shard, decimal. */
  readonly clusterIds: readonly string[];
  /** See `Base`. */
  readonly store?: string;
}

/**
 * Writes the first base of a store, which may have data already: one segment per shard. Another proxy may be faster;
 * whoever wins, the host has a base afterwards. Rejects when a shard or the host can not be reached.
 */
export async function beginLog(options: GenesisOptions): Promise<void> {
  const { host, hostShard, map } = options;
  const { revisions, omitted, clusterIds, store } = await options.genesis();
  const fold = Fold.genesis(revisions.length, hostShard);
  const covers = hostShard < 0 ? 0 : revisions[hostShard];
  // Data from before. `covers` is no log revision, it only lies before all of them.
  for (const [shard, reached] of revisions.entries()) fold.begin(shard, reached, omitted?.[shard] ?? []);
  const base: Base = {
    epoch: 1,
    covers,
    segmentParts: [],
    segmentsInParts: 0,
    generation: 1,
    prunedCount: 0,
    prunedAt: 0,
    map,
    clusterIds,
    ...(store !== undefined && { store }),
  };
  const { value } = encodeBase(base, fold.snapshot(), PART_SIZES.bytes, () => "");
  await host.commit(
    0,
    [
      { key: BASE_KEY.toString("latin1"), value },
      { key: TAIL_KEY.toString("latin1"), value: Buffer.alloc(0) },
    ],
    [],
  );
}
