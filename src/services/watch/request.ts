import type { Router } from "../../routing/router.js";
import { type TextRange, textRange } from "../../watch/keys.js";
import { FilterType, type WatchCreateRequest } from "../../wire/messages.js";
import { visible } from "../kv/keyspace.js";

/** What a client wants to watch. `hidden`: only keys that no client sees. */
export type WatchPlan =
  | { readonly kind: "hidden" }
  | {
      readonly kind: "visible";
      readonly range: TextRange;
      readonly shards: readonly number[];
      readonly prevKv: boolean;
      readonly fragment: boolean;
      readonly noPut: boolean;
      readonly noDelete: boolean;
    };

const FIRST = Uint8Array.of(0);

/** Reads a create request by etcd's rules, without the reserved keyspace. Undefined for a range that ends before it begins. */
export function describeWatch(request: WatchCreateRequest, router: Router): WatchPlan | undefined {
  // As in etcd an empty key is the first of all.
  const key = request.key.length === 0 ? FIRST : request.key;
  const { rangeEnd, filters, prevKv, fragment } = request;
  const { begin, end } = textRange(key, rangeEnd);
  if (begin >= end) return undefined;
  const extent = visible({ key, rangeEnd });
  if (extent === undefined) return { kind: "hidden" };
  return {
    kind: "visible",
    range: textRange(extent.key, extent.rangeEnd),
    shards: router.shardsOf(extent.key, extent.rangeEnd),
    prevKv,
    fragment,
    noPut: filters.includes(FilterType.NOPUT),
    noDelete: filters.includes(FilterType.NODELETE),
  };
}
