import type { KeyValue, RangeRequest, RangeResponse } from "../../wire/messages.js";
import { SortOrder, SortTarget } from "../../wire/messages.js";
import { hasBounds } from "./translate.js";

/*
 * A Range over several shards: what each shard is asked, and how the parts become the answer that one etcd
 * holding all the keys would give. etcd reads in key order (limit + 1 keys at most when nothing has to be sorted or
 * bounded), applies the bounds, sorts, and cuts at the limit; `count` is the number of keys before all that.
 */

const NO_VALUE = new Uint8Array(0);

/** What every shard is asked; the caller sets its revision and translates the bounds. */
export function partRequest(request: RangeRequest): RangeRequest {
  const limit = request.limit > 0 ? request.limit + 1 : 0;
  if (readsInKeyOrder(request)) {
    // Even with another sort target etcd takes its first limit + 1 keys in key order and sorts afterwards.
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

/** The answer (without header) from the shards' answers to `partRequest`, whose revisions are the clients' already. */
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

/** Sorts in place what is in key order; keys that tie stay in key order, descending too. */
function sortKvs(kvs: KeyValue[], order: number, target: number): void {
  if (order === SortOrder.NONE || (order === SortOrder.ASCEND && target === SortTarget.KEY)) return;
  const compare = comparators[target];
  kvs.sort(order === SortOrder.DESCEND ? (a, b) => -compare(a, b) : compare);
}

function byKey(a: KeyValue, b: KeyValue): number {
  return Buffer.compare(a.key, b.key);
}

const comparators: Record<number, (a: KeyValue, b: KeyValue) => number> = {
  [SortTarget.KEY]: byKey,
  [SortTarget.VERSION]: (a, b) => a.version - b.version,
  [SortTarget.CREATE]: (a, b) => a.createRevision - b.createRevision,
  [SortTarget.MOD]: (a, b) => a.modRevision - b.modRevision,
  [SortTarget.VALUE]: (a, b) => Buffer.compare(a.value, b.value),
};

/** True when etcd stops reading after limit + 1 keys. */
function readsInKeyOrder(request: RangeRequest): boolean {
  return request.sortOrder === SortOrder.NONE && !hasBounds(request);
}

/** A sort target without an order is sorted upwards, except by key, where there is nothing to do. */
function effectiveOrder(request: RangeRequest): SortOrder {
  const unordered = request.sortOrder === SortOrder.NONE && request.sortTarget !== SortTarget.KEY;
  return unordered ? SortOrder.ASCEND : request.sortOrder;
}
