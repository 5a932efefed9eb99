import { visitInOrder } from "../../shard/inOrder.js";
import { RangeReader } from "../../shard/rangeReader.js";
import type { Shard } from "../../shard/shard.js";
import { TO_LAST_KEY } from "../../wire/keyRange.js";
import { type KeyValue, RangeRequest, RangeResponse, TxnRequest, TxnResponse } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";

/** The first key that clients can have. */
export const FIRST_KEY: Uint8Array = Uint8Array.of(1);
/** Default size of a page. */
const PAGE_KEYS = 10_000;

/** What to read of one shard. */
export interface KeySource {
  readonly shard: Shard;
  /** Shard revision to read at. Default: each page is read from any member, at its own newest revision. */
  readonly revision?: number;
  readonly pageKeys?: number;
}

/** The keys of one shard, without those of the proxies, in ascending order and in pages. */
export async function* keyPages({
  shard,
  revision,
  pageKeys = PAGE_KEYS,
}: KeySource): AsyncGenerator<readonly Pick<KeyValue, "key">[]> {
  const at = revision === undefined ? { serializable: true } : { revision };
  const reader = new RangeReader(async ({ from, to }) => {
    const range = { key: from, rangeEnd: to ?? TO_LAST_KEY, limit: pageKeys, keysOnly: true, ...at };
    return RangeResponse.decode(await shard.call(KV.Range, RangeRequest.encode(range), { idempotent: true }));
  }, pageKeys);
  for await (const kvs of reader.pages(FIRST_KEY, null)) if (kvs.length > 0) yield kvs;
}

/** Calls `visit` for all keys of several shards, in ascending order, with the shard's place in `sources`. */
export function visitKeys(
  sources: readonly KeySource[],
  visit: (key: Uint8Array, source: number) => void,
): Promise<void> {
  return visitInOrder(sources.map(keyPages), ({ key }, source) => visit(key, source));
}

/** Counts the keys of a shard at a shard revision, without those of the proxies. */
export async function countKeys(shard: Shard, revision: number): Promise<number> {
  const request = { key: FIRST_KEY, rangeEnd: TO_LAST_KEY, countOnly: true, revision };
  const answer = await shard.call(KV.Range, RangeRequest.encode(request), { idempotent: true });
  return RangeResponse.decode(answer).count;
}

/** Keys in one transaction. Values may have a megabyte each. */
const READ_TOGETHER = 16;

/** The mean size of keys of a shard with their values at a shard revision, in bytes; 0 without keys. */
export async function meanSize(shard: Shard, keys: readonly Uint8Array[], revision: number): Promise<number> {
  let bytes = 0;
  for (let at = 0; at < keys.length; at += READ_TOGETHER) {
    const requests = keys.slice(at, at + READ_TOGETHER).map((key) => ({ key, revision }));
    const request = TxnRequest.encode({ success: requests.map((request) => ({ kind: "range", request })) });
    const answer = await shard.call(KV.Txn, request, { idempotent: true });
    for (const each of TxnResponse.decode(answer).responses) {
      const kvs = each.kind === "range" ? each.response.kvs : [];
      for (const { key, value } of kvs) bytes += key.length + value.length;
    }
  }
  return keys.length === 0 ? 0 : bytes / keys.length;
}
