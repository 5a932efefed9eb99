import type { Config } from "../../config/types.js";
import { printable } from "../../routing/bytes.js";
import { createRouter } from "../../routing/create.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import type { ConfiguredCluster, Contradiction } from "./contradictions.js";
import { keyPages } from "./keys.js";

/** Longest part of a key in an error, in bytes. */
const SHOWN_BYTES = 200;

/** True if no cluster belongs to a store yet. Then the next start of a proxy creates one. */
export const isUnmade = (clusters: readonly ConfiguredCluster[]): boolean =>
  clusters.every(
    ({ reading }) =>
      reading !== undefined &&
      reading.base === undefined &&
      reading.marks.marks.length === 0 &&
      reading.marks.claims.length === 0,
  );

/**
 * Finds keys that the rules place on another shard: listings would show them, but reads of the key would not. Reads all
 * keys of each shard, up to the first misplaced one.
 */
export async function findMisplacedKeys(
  config: Config,
  all: readonly Shard[],
  clusters: readonly ConfiguredCluster[],
): Promise<Contradiction[]> {
  const { shards } = config;
  if (shards.length === 1) return [];
  const router = await createRouter(config.map);
  const found = await Promise.all(
    clusters.map(async ({ index, name, reading }): Promise<Contradiction[]> => {
      const shard = all.find((each) => each.index === index);
      // A cluster at its first revision has never had a key.
      if (index < 0 || shard === undefined || reading === undefined || reading.revision <= 1) return [];
      const key = await findKey(shard, (each) => router.shardOf(each) !== index);
      if (key === undefined) return [];
      const owner = describeShard({ name: shards[router.shardOf(key)]?.name ?? "" });
      const message =
        `${describeShard({ name })}: the etcd cluster ${reading.clusterId} holds the key ` +
        `"${printable(key.subarray(0, SHOWN_BYTES))}", which belongs on ${owner} by the routing rules: ` +
        "begin with empty clusters, or with clusters whose keys match the rules";
      return [{ path: ["shards", index, "endpoints"], cluster: index, message }];
    }),
  );
  return found.flat();
}

/** The shard's first key for which `matches`. */
async function findKey(shard: Shard, matches: (key: Uint8Array) => boolean): Promise<Uint8Array | undefined> {
  for await (const page of keyPages({ shard })) {
    const found = page.find(({ key }) => matches(key));
    if (found !== undefined) return found.key;
  }
  return undefined;
}
