import type { Config } from "../../config/types.js";
import { printable } from "../../routing/bytes.js";
import { createRouter } from "../../routing/create.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { TO_LAST_KEY } from "../../wire/keyRange.js";
import { RangeRequest, RangeResponse } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import type { ConfiguredCluster, Contradiction } from "./contradictions.js";

/** Keys read at a time: an etcd counts the rest of them for every page. */
const PAGE = 50_000;
/** Bytes of a key that an error shows. */
const SHOWN = 200;
/** The first key that clients can have. */
const FIRST = Uint8Array.of(1);

/** True when no cluster says anything of a store yet: the next start makes one. */
export const isUnmade = (clusters: readonly ConfiguredCluster[]): boolean =>
  clusters.every(
    ({ reading }) =>
      reading !== undefined &&
      reading.base === undefined &&
      reading.marks.marks.length === 0 &&
      reading.marks.claims.length === 0,
  );

/**
 * Keys of clusters with data that the rules place on another shard: lists would show them, and reads of the key itself would
 * not. Reads all keys, and stops at the first that is misplaced, in each shard.
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
    clusters.map(async ({ index, reading }): Promise<Contradiction[]> => {
      const shard = all.find((each) => each.index === index);
      // Only a cluster at its first revision has never had a key.
      if (index < 0 || shard === undefined || reading === undefined || reading.revision <= 1) return [];
      const key = await findKey(shard, (each) => router.shardOf(each) !== index);
      if (key === undefined) return [];
      const message =
        `${describeShard(shards[index])}: the etcd cluster ${reading.clusterId} holds the key ` +
        `"${printable(key.subarray(0, SHOWN))}", which belongs on ${describeShard(shards[router.shardOf(key)])} by the routing rules: ` +
        "begin with clusters whose keys are where the rules place them, or with empty ones";
      return [{ path: ["shards", index, "endpoints"], cluster: index, message }];
    }),
  );
  return found.flat();
}

/** The shard's first key for which `matches`. */
async function findKey(shard: Shard, matches: (key: Uint8Array) => boolean): Promise<Uint8Array | undefined> {
  let from: Uint8Array = FIRST;
  for (;;) {
    const request = { key: from, rangeEnd: TO_LAST_KEY, limit: PAGE, keysOnly: true, serializable: true };
    const answer = await shard.call(KV.Range, RangeRequest.encode(request), { idempotent: true });
    const { kvs, more } = RangeResponse.decode(answer);
    const found = kvs.find(({ key }) => matches(key));
    if (found !== undefined) return found.key;
    const last = kvs[kvs.length - 1];
    if (!more || last === undefined) return undefined;
    from = Buffer.concat([last.key, Uint8Array.of(0)]);
  }
}
