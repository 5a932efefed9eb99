import type { Holder } from "../../reshard/locator.js";
import type { Call } from "../../rpc/call.js";
import { etcd } from "../../status/etcd.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { type KeyValue, RangeRequest, RangeResponse, SortOrder, SortTarget } from "../../wire/messages.js";
import { type ToRevision, translateKey } from "../../wire/rewrite.js";
import type { KvContext } from "./context.js";
import { shardsOfRange } from "./keyspace.js";
import { Selection, type Share } from "./selection.js";
import { readShard, SnapshotGone } from "./shardReads.js";
import { hasBounds } from "./translate.js";
import type { ReadBudget } from "./txnReads.js";

/*
 * Ranges that the shards cannot evaluate, because they hold keys of other shards at the revision of the read, or keys whose
 * revisions and versions are not their own. Each holder is read page by page, and the proxy does the rest.
 */

/** Target size of a page, in bytes. */
const PAGE_BYTES = 4 << 20;
/** Most keys of a first page, and of any page. An etcd walks all keys of the rest of the range for each page. */
const FIRST_KEYS = 500;
const MAX_KEYS = 50_000;
/** Fewest keys of a page, because foreign keys may come first. */
const MIN_KEYS = 32;

/** Whether a Range as of revision `at` has to be read through `readHolders`. `range` is its visible part. */
export function needsHolders(
  { places, router }: Pick<KvContext, "places" | "router">,
  request: RangeRequest,
  range: KeyRange,
  at: number,
): boolean {
  const { calmFrom } = places;
  if (at < calmFrom) return true;
  return (
    calmFrom > 0 &&
    ordersNumbers(request) &&
    shardsOfRange(router, range).some((shard) => places.hasImports(shard))
  );
}

/** True when the response depends on the order of revisions or versions. */
export function ordersNumbers(request: RangeRequest): boolean {
  return (
    hasBounds(request) || (request.sortTarget !== SortTarget.KEY && request.sortTarget !== SortTarget.VALUE)
  );
}

/**
 * Reads a Range as of the sealed revision `at` from all shards that hold keys of it. Waits until the holders are decided.
 * Rejects with `SnapshotGone` when the revision was compacted meanwhile and `retryable` is true. The response has no header.
 */
export async function readHolders(
  context: KvContext,
  call: Call,
  request: RangeRequest,
  range: KeyRange,
  at: number,
  retryable: boolean,
  budget?: ReadBudget,
): Promise<RangeResponse> {
  const { places } = context;
  await places.untilDecided(call, range, at);
  const holders = places.holders(range, at);
  const selection = new Selection(request);
  const read = { context, call, request, range, at, retryable, budget, holders, selection };
  await Promise.all(holders.map((holder) => readHolder(read, holder)));
  return selection.finish();
}

/** What the pages of one read share. */
interface Read {
  readonly context: KvContext;
  readonly call: Call;
  readonly request: RangeRequest;
  readonly range: KeyRange;
  readonly at: number;
  readonly retryable: boolean;
  readonly budget: ReadBudget | undefined;
  readonly holders: readonly Holder[];
  readonly selection: Selection;
}

/** Adds the keys of one holder to the selection. */
async function readHolder(read: Read, holder: Holder): Promise<void> {
  const { context, call, range, at, retryable, selection, budget } = read;
  const { places, timeline } = context;
  const { shard } = holder;
  const share = selection.share();
  let { key } = range;
  let limit = pageLimit(share, FIRST_KEYS);
  for (;;) {
    const page: RangeRequest = {
      ...EVERYTHING,
      key,
      rangeEnd: range.rangeEnd,
      limit,
      // A revision of 0 would mean the newest one. Revision 1 of an etcd is its empty state.
      revision: Math.max(1, holder.at),
      keysOnly: share.needsKeysOnly,
    };
    const response = await readShard(context, call, page, shard, retryable);
    // Moves that decide about the keys may be forgotten.
    if (at < timeline.compactRevision) throw retryable ? new SnapshotGone(shard) : etcd.compacted();
    budget?.spend(response.length);
    const { kvs, more } = RangeResponse.decode(response);
    const map = context.revisionsOf(shard);
    for (const kv of kvs) {
      if (places.isHolder(holder, read.holders, kv.key, at)) share.add(translated(kv, map));
    }
    const last = kvs.at(-1);
    if (!more || last === undefined) return;
    key = Buffer.concat([last.key, AFTER]);
    limit = pageLimit(share, Math.floor((PAGE_BYTES * kvs.length) / response.length));
  }
}

function pageLimit({ wanted }: Share, fitting: number): number {
  const useful = wanted === 0 ? MAX_KEYS : Math.max(MIN_KEYS, wanted);
  return Math.max(1, Math.min(fitting, MAX_KEYS, useful));
}

function translated(kv: KeyValue, map: ToRevision): KeyValue {
  translateKey(kv, map);
  return kv;
}

const AFTER = Uint8Array.of(0);
const EVERYTHING = { ...RangeRequest.decode(new Uint8Array(0)), sortOrder: SortOrder.NONE };
