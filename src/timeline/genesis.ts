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
  /** The newest revision and the cluster id of each shard, read linearizably: asked once in the life of a store. */
  genesis(): Promise<{ revisions: number[]; clusterIds: string[] }>;
}

/**
 * Writes the first base of a store, which may have data already: one segment per shard. Another proxy may be faster;
 * whoever wins, the host has a base afterwards. Rejects when a shard or the host can not be reached.
 */
export async function beginLog(options: GenesisOptions): Promise<void> {
  const { host, hostShard, map } = options;
  const { revisions, clusterIds } = await options.genesis();
  const fold = Fold.genesis(revisions.length, hostShard);
  const covers = hostShard < 0 ? 0 : revisions[hostShard];
  // Data from before. `covers` is no log revision, it only lies before all of them.
  fold.apply({ reached: new Map(revisions.entries()), compact: 0, leases: [], raftTerm: 0 }, 0);
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
