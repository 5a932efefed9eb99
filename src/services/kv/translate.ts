import { etcd } from "../../status/etcd.js";
import type { Timeline, TimelineView } from "../../timeline/view.js";
import type { Compare, RangeRequest, RequestOp, TxnRequest } from "../../wire/messages.js";
import { CompareResult, CompareTarget, EMPTY, GIVEN_EMPTY } from "../../wire/messages.js";
import { ABSENT, touchesReserved, visible } from "./keyspace.js";

/** The timeline for compares, which may name imports. */
export type ComparedView = TimelineView & Pick<Timeline, "shardRevisionsOf">;

/*
 * Translates requests from clients' revisions to one shard's revisions. Pure. A revision above the view's head counts as
 * not reached by any write, so callers bring the head up to the request's horizon first.
 */

/** Above every revision of a client or shard. */
const NEVER = Number.MAX_SAFE_INTEGER;
/** As a range's revision in a transaction: compacted on every etcd, even one that was never compacted. */
const COMPACTED = -2;
/** As the operand of EQUAL: a revision that no key has. */
const NO_REVISION = -1;

/**
 * The newest revision that the translation of `request` depends on, or 0 for none. A lower bound R needs only the cut
 * before it, so it counts as R - 1.
 */
export function rangeHorizon(request: RangeRequest): number {
  return Math.max(
    request.revision,
    request.minModRevision - 1,
    request.maxModRevision,
    request.minCreateRevision - 1,
    request.maxCreateRevision,
    0,
  );
}

/** Like `rangeHorizon`, over all compares and operations of all branches. */
export function txnHorizon(request: TxnRequest): number {
  let horizon = 0;
  for (const compare of request.compare) horizon = Math.max(horizon, compareHorizon(compare));
  for (const branch of [request.success, request.failure]) {
    for (const op of branch) {
      if (op.kind === "range") horizon = Math.max(horizon, rangeHorizon(op.request));
      else if (op.kind === "txn") horizon = Math.max(horizon, txnHorizon(op.request));
    }
  }
  return horizon;
}

/** The lowest revision that a range of a transaction names, over all branches; infinity if none does. */
export function oldestRead(request: TxnRequest): number {
  let oldest = Number.POSITIVE_INFINITY;
  for (const op of [...request.success, ...request.failure]) {
    if (op.kind === "txn") oldest = Math.min(oldest, oldestRead(op.request));
    else if (op.kind === "range" && op.request.revision > 0) oldest = Math.min(oldest, op.request.revision);
  }
  return oldest;
}

function compareHorizon(compare: Compare): number {
  const revision = comparedRevision(compare);
  return compare.result === CompareResult.LESS ? revision - 1 : revision;
}

/** The create or mod revision in a compare, or 0 where it has another target or no revision. */
function comparedRevision(compare: Compare): number {
  if (compare.target === CompareTarget.CREATE) return compare.createRevision ?? 0;
  if (compare.target === CompareTarget.MOD) return compare.modRevision ?? 0;
  return 0;
}

/** Throws etcd's error for a `Range.revision` that is in the future or compacted. */
export function checkReadable(revision: number, view: TimelineView): void {
  if (revision > view.head) throw etcd.futureRevision();
  if (revision > 0 && revision < view.compactRevision) throw etcd.compacted();
}

/** Throws etcd's error if the timeline may have forgotten revisions in the state at `revision`, which a shard has responded with. */
export function checkKept(revision: number, timeline: Pick<Timeline, "prunedAt">): void {
  if (revision > 0 && revision < timeline.prunedAt) throw etcd.compacted();
}

/** The shard revision at which a shard has its state of `revision` (0 < revision <= head). */
export function readAt(revision: number, view: TimelineView, shard: number): number {
  // 0 would mean the newest state. Revision 1 of an etcd is its empty state.
  return Math.max(1, view.cutAt(revision, shard));
}

/** True when a range has bounds on create or mod revisions. */
export function hasBounds(request: RangeRequest): boolean {
  return (
    request.minModRevision !== 0 ||
    request.maxModRevision !== 0 ||
    request.minCreateRevision !== 0 ||
    request.maxCreateRevision !== 0
  );
}

/** The range with its bounds in a shard's revisions, to be read at `shardRevision` (0: the newest). */
export function translateRange(
  request: RangeRequest,
  shardRevision: number,
  view: TimelineView,
  shard: number,
): RangeRequest {
  return {
    ...request,
    revision: shardRevision,
    minModRevision: lowerBound(request.minModRevision, view, shard),
    maxModRevision: upperBound(request.maxModRevision, view, shard),
    minCreateRevision: lowerBound(request.minCreateRevision, view, shard),
    maxCreateRevision: upperBound(request.maxCreateRevision, view, shard),
  };
}

/** The smallest shard revision not before `bound`. 0 (no bound) and negative bounds (true of all keys) stay. */
function lowerBound(bound: number, view: TimelineView, shard: number): number {
  if (bound <= 0) return bound;
  return bound - 1 > view.head ? NEVER : view.cutAt(bound - 1, shard) + 1;
}

/** The largest shard revision not after `bound`. 0 (no bound) and negative bounds (true of no key) stay. */
function upperBound(bound: number, view: TimelineView, shard: number): number {
  if (bound <= 0) return bound;
  // A bound before the shard's first revision must not become 0, which means no bound. No key has revision 1.
  return bound > view.head ? NEVER : Math.max(1, view.cutAt(bound, shard));
}

/**
 * Translates a transaction whose keys are all on `shard`, and clips ranges to what clients can see. Returns the same object
 * when nothing has to change. The shard must be able to evaluate it; see `mustReadFirst`.
 */
export function translateTxn(request: TxnRequest, view: ComparedView, shard: number): TxnRequest {
  const compare = mapSame(request.compare, (one) => translateCompare(one, view, shard));
  const success = mapSame(request.success, (op) => translateOp(op, view, shard));
  const failure = mapSame(request.failure, (op) => translateOp(op, view, shard));
  if (compare === request.compare && success === request.success && failure === request.failure) {
    return request;
  }
  return { ...request, compare, success, failure };
}

function translateOp(op: RequestOp, view: ComparedView, shard: number): RequestOp {
  switch (op.kind) {
    case "range": {
      const request = clipped(op.request);
      if (request === op.request && request.revision <= 0 && !hasBounds(request)) return op;
      const revision = revisionInTxn(request.revision, view, shard);
      return { kind: "range", request: translateRange(request, revision, view, shard) };
    }
    case "deleteRange": {
      const request = clipped(op.request);
      return request === op.request ? op : { kind: "deleteRange", request };
    }
    case "txn": {
      const request = translateTxn(op.request, view, shard);
      return request === op.request ? op : { kind: "txn", request };
    }
    default:
      return op;
  }
}

/**
 * Translates a range's revision inside a transaction. One that cannot be read must fail only if its branch is taken, so the
 * shard decides. Negative revisions stay, because etcd has its own rules for them there.
 */
function revisionInTxn(revision: number, view: TimelineView, shard: number): number {
  if (revision <= 0) return revision;
  if (revision > view.head) return NEVER;
  return revision < view.compactRevision ? COMPACTED : readAt(revision, view, shard);
}

/** A compare in a shard's revisions. Returns the same object when nothing has to change. */
export function translateCompare(original: Compare, view: ComparedView, shard: number): Compare {
  const compare = clipped(original);
  const revision = comparedRevision(compare);
  if (revision <= 0) return compare;
  const translated = comparedWith(compare.result, revision, view, shard);
  return compare.target === CompareTarget.CREATE
    ? { ...compare, createRevision: translated }
    : { ...compare, modRevision: translated };
}

/**
 * True when `shard`, which has imports, cannot evaluate a compare: the order of its revisions is not that of the shard's, the
 * version has an offset, or several imports stand for the revision.
 */
export function mustReadFirst(compare: Compare, view: ComparedView, shard: number): boolean {
  if (compare.target === CompareTarget.VERSION) {
    const { version = 0 } = compare;
    // Whether a key exists does not depend on offsets.
    return version > 0 && !(version === 1 && compare.result === CompareResult.LESS);
  }
  const revision = comparedRevision(compare);
  if (revision <= 0) return false;
  if (compare.result === CompareResult.LESS || compare.result === CompareResult.GREATER) return true;
  return revision <= view.head && view.shardRevisionsOf(revision, shard).length > 1;
}

/** A compare of the same keys whose result does not depend on them. */
export function constantCompare({ key, rangeEnd }: Compare, holds: boolean): Compare {
  const result = holds ? CompareResult.GREATER : CompareResult.LESS;
  return { key, rangeEnd, target: CompareTarget.MOD, result, modRevision: NO_REVISION };
}

function comparedWith(result: number, revision: number, view: ComparedView, shard: number): number {
  switch (result) {
    case CompareResult.GREATER:
      return revision > view.head ? NEVER : view.cutAt(revision, shard);
    case CompareResult.LESS:
      return lowerBound(revision, view, shard);
    default: {
      const [known] = revision <= view.head ? view.shardRevisionsOf(revision, shard) : [];
      return known ?? NO_REVISION;
    }
  }
}

/** A request without its reserved keys and without an empty `range_end` on the wire. The same object when it has neither. */
function clipped<T extends { key: Uint8Array; rangeEnd: Uint8Array }>(request: T): T {
  if (request.rangeEnd === GIVEN_EMPTY) return clipped({ ...request, rangeEnd: EMPTY });
  if (!touchesReserved(request)) return request;
  const { key, rangeEnd } = visible(request) ?? ABSENT;
  return { ...request, key, rangeEnd };
}

function mapSame<T>(list: readonly T[], translate: (item: T) => T): T[] {
  let changed: T[] | undefined;
  for (const [i, item] of list.entries()) {
    const translated = translate(item);
    if (translated !== item) changed ??= list.slice(0, i);
    changed?.push(translated);
  }
  return changed ?? (list as T[]);
}
