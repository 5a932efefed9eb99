import { etcd } from "../../status/etcd.js";
import type { TimelineView } from "../../timeline/view.js";
import type { Compare, KeyValue, RequestOp } from "../../wire/messages.js";
import { CompareResult, CompareTarget } from "../../wire/messages.js";

/* Evaluates compares and range revisions as etcd does, for transactions that the proxy answers itself. Pure. */

const NO_VALUE = new Uint8Array(0);
const ABSENT_KEY: KeyValue = {
  key: NO_VALUE,
  createRevision: 0,
  modRevision: 0,
  version: 0,
  value: NO_VALUE,
  lease: 0n,
};

/** Targets that a keys-only read does not return. Since 3.7, etcd omits leases there, too. */
export const NEEDS_VALUES: ReadonlySet<number> = new Set([CompareTarget.VALUE, CompareTarget.LEASE]);

/**
 * Whether a compare holds for all keys of its range. Without any key it is compared with zero, and a compare of values
 * never holds.
 */
export function holds(compare: Compare, kvs: readonly KeyValue[]): boolean {
  if (kvs.length === 0) return compare.target !== CompareTarget.VALUE && holdsFor(compare, ABSENT_KEY);
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

/** The key's value minus the compare's. The compare's union member counts only when it fits the target. */
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

/** Throws etcd's error for the revision of a range in a transaction that is executed at `head`. */
export function checkRevisionInTxn(op: RequestOp, head: number, view: TimelineView): void {
  if (op.kind !== "range" || op.request.revision === 0) return;
  if (op.request.revision > head) throw etcd.futureRevision();
  // An etcd that was never compacted counts as compacted at -1, so it reads -1 as 0.
  const first = view.compactRevision > 0 ? view.compactRevision : -1;
  if (op.request.revision < first) throw etcd.compacted();
}
