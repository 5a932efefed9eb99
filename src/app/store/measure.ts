import { type Difference, MapComparison, type PlacedMap } from "../../reshard/difference.js";
import { Hasher } from "../../routing/hash.js";
import type { ShardClient } from "../../shard/client.js";
import { StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { StatusRequest, StatusResponse } from "../../wire/messages.js";
import { Maintenance } from "../../wire/paths.js";
import { countKeys, meanSize, visitKeys } from "./keys.js";
import type { Survey } from "./survey.js";

/** About as many bytes may an etcd read for one page. It reads the values too, although it does not send them. */
const PAGE_BYTES = 16 * 2 ** 20;
const MIN_PAGE_KEYS = 1_000;
const MAX_PAGE_KEYS = 50_000;
/** How often counting starts again because the store was compacted meanwhile. */
const ATTEMPTS = 3;
/** Keys between two reports of progress. */
const REPORT_KEYS = 1_000;

/** What a change of the map does to the keys of a store, at one revision. */
export interface Measurement extends Difference {
  /** The revision of the store. */
  readonly revision: number;
  /** Estimated bytes of keys and values for each of `movements`. */
  readonly bytes: readonly number[];
  /** Number of keys whose size the estimate uses. */
  readonly sampled: number;
}

/** Receives the number of keys read so far, and of all keys. */
export type Progress = (read: number, total: number) => void;

/**
 * Reads the keys of all shards in force at one revision, and compares where they are with where `to` places them. The
 * cluster numbers of both maps are places in the survey's list of shards, for those of the map in force.
 */
export async function measure(
  survey: Survey,
  from: PlacedMap,
  to: PlacedMap,
  progress: Progress,
): Promise<Measurement> {
  const shards = survey.shards.map(({ cluster }): ShardClient => {
    if (cluster === undefined) throw new RangeError("a shard in force has no known address");
    return cluster.client;
  });
  const hasher = await Hasher.load();
  for (let attempt = 1; ; attempt++) {
    try {
      const { fold } = await survey.reload();
      const cuts = survey.shards.map(({ index }) => fold.cut(index));
      const revision = fold.head;
      return { revision, ...(await compareAt(shards, cuts, new MapComparison(from, to, hasher), progress)) };
    } catch (reason) {
      // A compaction has overtaken the reads.
      if (!etcd.compacted.is(StatusError.from(reason)) || attempt === ATTEMPTS) throw reason;
    }
  }
}

async function compareAt(
  shards: readonly ShardClient[],
  cuts: readonly number[],
  comparison: MapComparison,
  progress: Progress,
): Promise<Omit<Measurement, "revision">> {
  const sources = await Promise.all(
    shards.map(async (shard, index) => {
      const revision = cuts[index] ?? 0;
      const keys = await countKeys(shard, revision);
      return { shard, revision, keys, pageKeys: await pageKeysOf(shard, keys) };
    }),
  );
  const total = sources.reduce((sum, { keys }) => sum + keys, 0);
  let read = 0;
  await visitKeys(sources, (key, source) => {
    comparison.add(key, source);
    if (++read % REPORT_KEYS === 0) progress(read, total);
  });
  const difference = comparison.result();
  const bytes = await Promise.all(
    difference.movements.map(async ({ from, keys, sample }) => {
      const source = sources[from];
      return source === undefined ? 0 : keys * (await meanSize(source.shard, sample, source.revision));
    }),
  );
  const sampled = difference.movements.reduce((sum, { sample }) => sum + sample.length, 0);
  return { ...difference, bytes: bytes.map(Math.round), sampled };
}

async function pageKeysOf(shard: ShardClient, keys: number): Promise<number> {
  const answer = await shard.call(Maintenance.Status, StatusRequest.encode({}), { idempotent: true });
  const { dbSizeInUse } = StatusResponse.decode(answer);
  const fitting = Math.floor((PAGE_BYTES * keys) / Math.max(1, dbSizeInUse));
  return Math.min(MAX_PAGE_KEYS, Math.max(MIN_PAGE_KEYS, fitting));
}
