import { type TextRange, textRange } from "../../watch/keys.js";
import { type KeyRange, NO_KEY } from "../../wire/keyRange.js";
import { FilterType, type WatchCreateRequest } from "../../wire/messages.js";
import { visible } from "../kv/keyspace.js";

/** What a client wants to watch. `hidden` stands for reserved keys only, which clients cannot see. */
export type WatchPlan =
  | { readonly kind: "hidden" }
  | {
      readonly kind: "visible";
      readonly range: TextRange;
      readonly prevKv: boolean;
      readonly fragment: boolean;
      readonly noPut: boolean;
      readonly noDelete: boolean;
    };

/** The range of a create request. As in etcd, an empty key means the first one. */
export function rangeOf({ key, rangeEnd }: KeyRange): KeyRange {
  return { key: key.length === 0 ? NO_KEY : key, rangeEnd };
}

/** Reads a create request by etcd's rules, without reserved keys. Returns undefined for a range that ends before it begins. */
export function describeWatch(request: WatchCreateRequest): WatchPlan | undefined {
  const { filters, prevKv, fragment } = request;
  const range = rangeOf(request);
  const { begin, end } = textRange(range.key, range.rangeEnd);
  if (begin >= end) return undefined;
  const seen = visible(range);
  if (seen === undefined) return { kind: "hidden" };
  return {
    kind: "visible",
    range: textRange(seen.key, seen.rangeEnd),
    prevKv,
    fragment,
    noPut: filters.includes(FilterType.NOPUT),
    noDelete: filters.includes(FilterType.NODELETE),
  };
}
