import type { Pace } from "../mover/pace.js";
import { type Bound, START } from "../reshard/bound.js";
import { compareBytes } from "../routing/bytes.js";
import { visitInOrder } from "../shard/inOrder.js";
import { type End, keyAfter, RangeReader } from "../shard/rangeReader.js";
import type { Shard } from "../shard/shard.js";
import { etcd } from "../status/etcd.js";
import { TO_LAST_KEY } from "../wire/keyRange.js";
import { type KeyValue, RangeRequest, RangeResponse } from "../wire/messages.js";
import { KV } from "../wire/paths.js";

/** Keys in a page. Pages are small, so that no page keeps a shard or this process busy, or is very large. */
const PAGE_KEYS = 200;
/** Bytes in a page, as far as the page before shows how large values are. */
const PAGE_BYTES = 1024 * 1024;
/** The first page shows how large values are. */
const FIRST_PAGE = 16;
/** Values of so many bytes take as much of the pace as a key. */
const BYTES_PER_KEY = 1_024;

export interface SweepDeps {
  /** All shards in use. The list is another one after a change, as that of `ShardSet`. */
  shards(): readonly Shard[];
  /** The shard that holds a key now. */
  shardOf(key: Uint8Array): number;
  /**
   * Where the first page of each shard has ended. etcd visits all keys of a range, whatever the limit is, so only the first sweep
   * asks for all that there is.
   */
  readonly starts: WeakMap<Shard, Uint8Array>;
  /** A key counts 1, and so does each KiB if that is more. */
  readonly pace: Pick<Pace, "take">;
  /** Undefined: nobody follows the changes. */
  readonly reading?: Reading | undefined;
}

/** Is told about the pages of each shard, which come in ascending order. */
export interface Reading {
  /** The next page is read now, or again. Returns the shard revision to read it at. */
  begins(shard: Shard): number;
  /** The page has all keys of the shard below `end`. */
  ends(shard: Shard, end: Bound): void;
}

/** Thrown when a sweep cannot be completed because the shards have changed. */
export class ShardsChanged extends Error {}

/** A key with the bytes of itself and its value. */
interface SizedKey {
  readonly key: Uint8Array;
  readonly bytes: number;
}

/**
 * Calls `visit` once for each key of the store, in ascending order: the newest state of each page's moment, from any member. While
 * keys move, two shards may have a key; it counts if the one that holds it has it. Rejects with the error of a shard that does not
 * respond, or with `ShardsChanged`.
 */
export async function sweep(
  { shards, shardOf, starts, pace, reading }: SweepDeps,
  visit: (key: Uint8Array, bytes: number) => void,
): Promise<void> {
  const all = shards();
  let last: Uint8Array | undefined;
  const sources = all.map((shard) => sizedPages(shard, starts, pace, reading));
  await visitInOrder(sources, ({ key, bytes }, source) => {
    if (shards() !== all) throw new ShardsChanged("shards have joined or left");
    // Keys may move between two looks at one key, so the last one that counted is compared.
    if (shardOf(key) !== all[source]?.index || (last !== undefined && compareBytes(key, last) === 0)) return;
    last = key;
    visit(key, bytes);
  });
  if (shards() !== all) throw new ShardsChanged("shards have joined or left");
}

/** The keys of one shard in ascending order. */
async function* sizedPages(
  shard: Shard,
  starts: WeakMap<Shard, Uint8Array>,
  pace: Pick<Pace, "take">,
  reading: Reading | undefined,
): AsyncGenerator<readonly SizedKey[]> {
  let limit = FIRST_PAGE;
  const read = async (from: Uint8Array, to: End, serializable: boolean) => {
    const revision = reading?.begins(shard) ?? 0;
    const request = { key: from, rangeEnd: to ?? TO_LAST_KEY, limit, serializable, revision };
    const response = await shard.call(KV.Range, RangeRequest.encode(request), { idempotent: true });
    const page = RangeResponse.decode(response);
    const last = page.kvs.at(-1);
    reading?.ends(shard, page.more && last !== undefined ? keyAfter(last.key) : to);
    return page;
  };
  const reader = new RangeReader(
    ({ from, to }) =>
      read(from, to, true).catch((reason) => {
        // A member that is behind does not have the revision yet.
        if (!etcd.futureRevision.is(reason)) throw reason;
        return read(from, to, false);
      }),
    PAGE_KEYS,
  );
  const start = starts.get(shard);
  starts.delete(shard);
  for await (const kvs of pagesFrom(reader, start)) {
    const last = kvs.at(-1);
    if (last !== undefined && !starts.has(shard)) starts.set(shard, Uint8Array.from(last.key));
    // Copies, so that the values are not kept.
    const page = kvs.map(({ key, value }) => ({
      key: Uint8Array.from(key),
      bytes: key.length + value.length,
    }));
    const bytes = page.reduce((sum, each) => sum + each.bytes, 0);
    const largest = page.reduce((most, each) => Math.max(most, each.bytes), 1);
    limit = Math.max(1, Math.min(PAGE_KEYS, 2 * limit, Math.floor(PAGE_BYTES / largest)));
    await pace.take(Math.max(1, page.length, bytes / BYTES_PER_KEY));
    if (page.length > 0) yield page;
  }
}

/** The pages of all keys, of which the first ones end at `start`. */
async function* pagesFrom(
  reader: RangeReader,
  start: Uint8Array | undefined,
): AsyncGenerator<readonly KeyValue[]> {
  if (start === undefined) return yield* reader.pages(START, null);
  yield* reader.pages(START, start);
  yield* reader.pages(start, null);
}
