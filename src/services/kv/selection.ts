import type { KeyValue, RangeRequest, RangeResponse } from "../../wire/messages.js";
import { SortTarget } from "../../wire/messages.js";
import { mergeParts, readsInKeyOrder, sortForRange } from "./merge.js";

/**
 * The result of a Range whose keys come one by one, with the revisions and versions that clients see. Counts them all, and
 * keeps only those that the response may contain.
 */
export class Selection {
  private count = 0;
  private kvs: KeyValue[] = [];
  /** Most keys that matter; as etcd, one more than the limit. */
  private readonly most: number;
  private readonly inKeyOrder: boolean;

  constructor(private readonly request: RangeRequest) {
    this.most = request.limit > 0 ? request.limit + 1 : Number.POSITIVE_INFINITY;
    this.inKeyOrder = readsInKeyOrder(request);
  }

  /** The part of the keys that come from one source, in key order. */
  share(): Share {
    const { request, inKeyOrder, most } = this;
    const needsKeysOnly = request.countOnly || (request.keysOnly && request.sortTarget !== SortTarget.VALUE);
    const keep = request.countOnly ? 0 : inKeyOrder ? most : Number.POSITIVE_INFINITY;
    return new Share(keep, needsKeysOnly, (kv, isKept) => this.add(kv, isKept));
  }

  /** The response, without header. */
  finish(): RangeResponse {
    const { request, kvs, count } = this;
    return mergeParts(request, [{ kvs, more: false, count }]);
  }

  private add(kv: KeyValue, isKept: boolean): void {
    this.count++;
    if (!isKept || !isWithinBounds(kv, this.request)) return;
    const { kvs, most, request } = this;
    kvs.push(kv);
    // The parts of all sources together are already few.
    if (this.inKeyOrder || kvs.length < 2 * most) return;
    sortForRange(kvs, request);
    kvs.length = most;
  }
}

/** One source's part in a selection. */
export class Share {
  constructor(
    private left: number,
    private readonly alwaysKeysOnly: boolean,
    private readonly pass: (kv: KeyValue, isKept: boolean) => void,
  ) {}

  /** Number of keys that are still wanted for more than the count; 0 for none. */
  get wanted(): number {
    return this.left;
  }

  /** True when the next keys need no values. */
  get needsKeysOnly(): boolean {
    return this.alwaysKeysOnly || this.left === 0;
  }

  add(kv: KeyValue): void {
    this.pass(kv, this.left > 0);
    if (this.left > 0) this.left--;
  }
}

function isWithinBounds(kv: KeyValue, request: RangeRequest): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return (
    (minModRevision === 0 || kv.modRevision >= minModRevision) &&
    (maxModRevision === 0 || kv.modRevision <= maxModRevision) &&
    (minCreateRevision === 0 || kv.createRevision >= minCreateRevision) &&
    (maxCreateRevision === 0 || kv.createRevision <= maxCreateRevision)
  );
}
