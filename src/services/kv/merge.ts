import type { KeyValue, RangeRequest, RangeResponse } from "../../wire/messages.js";
import { SortOrder, SortTarget } from "../../wire/messages.js";
import { hasBounds } from "./translate.js";

/*
 * A Range over several shards: the request for each shard, and how their responses become the one that a single etcd
 * with all the keys would give. etcd reads in key order, at most limit + 1 keys when nothing has to be sorted or bounded.
 * Then it applies the bounds, sorts, and cuts at the limit. `count` is the number of keys before all that.
 */

const NO_VALUE = new Uint8Array(0);

/** The request for every shard. The caller sets its revision and translates its bounds. */
export function partRequest(request: RangeRequest): RangeRequest {
  const limit = request.limit > 0 ? request.limit + 1 : 0;
  if (readsInKeyOrder(request)) {
    // Even with another sort target, etcd takes the first limit + 1 keys in key order and sorts them afterwards.
    return {
      ...request,
      limit,
      sortOrder: SortOrder.NONE,
      sortTarget: SortTarget.KEY,
      keysOnly: request.keysOnly && request.sortTarget !== SortTarget.VALUE,
    };
  }
  return {
    ...request,
    limit,
    sortOrder: effectiveOrder(request),
    keysOnly: request.keysOnly && request.sortTarget !== SortTarget.VALUE,
  };
}

/** The response, without header, from the shards' responses to `partRequest` in clients' revisions. */
export function mergeParts(request: RangeRequest, parts: readonly RangeResponse[]): RangeResponse {
  let count = 0;
  for (const part of parts) count += part.count;
  if (request.countOnly) return { kvs: [], more: false, count };

  let kvs: KeyValue[] = parts.flatMap((part) => part.kvs);
  kvs.sort(byKey);
  if (request.limit > 0 && readsInKeyOrder(request)) kvs = kvs.slice(0, request.limit + 1);
  sortKvs(kvs, effectiveOrder(request), request.sortTarget);
  const more = request.limit > 0 && kvs.length > request.limit;
  if (more) kvs = kvs.slice(0, request.limit);
  if (request.keysOnly && request.sortTarget === SortTarget.VALUE)
    kvs = kvs.map((kv) => ({ ...kv, value: NO_VALUE }));
  return { kvs, more, count };
}

/** Sorts keys into the order of the response, in place. */
export function sortForRange(kvs: KeyValue[], request: RangeRequest): void {
  kvs.sort(byKey);
  sortKvs(kvs, effectiveOrder(request), request.sortTarget);
}

/** Sorts keys that are in key order, in place. Ties stay in key order, also in descending order. */
function sortKvs(kvs: KeyValue[], order: number, target: number): void {
  if (order === SortOrder.NONE || (order === SortOrder.ASCEND && target === SortTarget.KEY)) return;
  const compare = COMPARATORS[target] ?? byKey;
  kvs.sort(order === SortOrder.DESCEND ? (a, b) => -compare(a, b) : compare);
}

function byKey(a: KeyValue, b: KeyValue): number {
  return Buffer.compare(a.key, b.key);
}

const COMPARATORS: Record<number, (a: KeyValue, b: KeyValue) => number> = {
  [SortTarget.KEY]: byKey,
  [SortTarget.VERSION]: (a, b) => a.version - b.version,
  [SortTarget.CREATE]: (a, b) => a.createRevision - b.createRevision,
  [SortTarget.MOD]: (a, b) => a.modRevision - b.modRevision,
  [SortTarget.VALUE]: (a, b) => Buffer.compare(a.value, b.value),
};

/** True when etcd stops reading after limit + 1 keys. */
export function readsInKeyOrder(request: RangeRequest): boolean {
  return request.sortOrder === SortOrder.NONE && !hasBounds(request);
}

/** etcd sorts in ascending order when only a target is given. By key there is nothing to sort then. */
function effectiveOrder(request: RangeRequest): SortOrder {
  const unordered = request.sortOrder === SortOrder.NONE && request.sortTarget !== SortTarget.KEY;
  return unordered ? SortOrder.ASCEND : request.sortOrder;
}
