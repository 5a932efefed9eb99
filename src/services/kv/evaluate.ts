import { etcd } from "../../status/etcd.js";
import type { TimelineView } from "../../timeline/view.js";
import type { Compare, KeyValue, RequestOp } from "../../wire/messages.js";
import { CompareResult, CompareTarget } from "../../wire/messages.js";

/* How etcd judges compares and the revisions of a transaction's ranges, for transactions answered here. Pure. */

const NO_VALUE = new Uint8Array(0);
const NO_KEY: KeyValue = {
  key: NO_VALUE,
  createRevision: 0,
  modRevision: 0,
  version: 0,
  value: NO_VALUE,
  lease: 0n,
};

/**
 * Whether a compare holds for the keys of its range: it must for all of them. With no key at all it is compared
 * with zero, except that no value equals, exceeds or falls short of a missing one.
 */
export function holds(compare: Compare, kvs: readonly KeyValue[]): boolean {
  if (kvs.length === 0) return compare.target !== CompareTarget.VALUE && holdsFor(compare, NO_KEY);
  return kvs.every((kv) => holdsFor(compare, kv));
}

function holdsFor(compare: Compare, kv: KeyValue): boolean {
  const order = difference(compare, kv);
  switch (compare.result) {
    case CompareResult.EQUAL:
      return order === 0;
    case CompareResult.NOT_EQUAL:
      return order !== 0;
    case CompareResult.GREATER:
      return order > 0;
    case CompareResult.LESS:
      return order < 0;
    default:
      return true;
  }
}

/** The key's side minus the compare's, whose union member counts only when it fits the target. */
function difference(compare: Compare, kv: KeyValue): number {
  switch (compare.target) {
    case CompareTarget.VERSION:
      return kv.version - (compare.version ?? 0);
    case CompareTarget.CREATE:
      return kv.createRevision - (compare.createRevision ?? 0);
    case CompareTarget.MOD:
      return kv.modRevision - (compare.modRevision ?? 0);
    case CompareTarget.VALUE:
      return Buffer.compare(kv.value, compare.value ?? NO_VALUE);
    case CompareTarget.LEASE: {
      const lease = compare.lease ?? 0n;
      return kv.lease < lease ? -1 : kv.lease > lease ? 1 : 0;
    }
    default:
      return 0;
  }
}

/** Throws what etcd throws for the revision of a range in a transaction that is executed at `head`. */
export function checkRevisionInTxn(op: RequestOp, head: number, view: TimelineView): void {
  if (op.kind !== "range" || op.request.revision === 0) return;
  if (op.request.revision > head) throw etcd.futureRevision();
  // An etcd that was never compacted counts as compacted at -1, so that -1 is as good as 0 there.
  const first = view.compactRevision > 0 ? view.compactRevision : -1;
  if (op.request.revision < first) throw etcd.compacted();
}
