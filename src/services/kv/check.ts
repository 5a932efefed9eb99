import { compareBytes } from "../../routing/bytes.js";
import { StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import type { Timeline } from "../../timeline/view.js";
import { TO_LAST_KEY } from "../../wire/keyRange.js";
import type {
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from "../../wire/messages.js";
import { SortOrder, SortTarget } from "../../wire/messages.js";
import { KeyRanges } from "./keyRanges.js";

/*
 * etcd's own checks of a request, in etcd's order and with etcd's errors. They run before any check that only a store of
 * several shards needs, so that an invalid request gets the same error as from etcd.
 */

/** Throws `StatusError` for a range that etcd refuses before it reads anything. */
export function checkRange(request: RangeRequest): void {
  if (request.key.length === 0) throw etcd.emptyKey();
  // Newer etcds refuse these. etcd 3.4 crashes on an unknown sort target.
  if (request.sortOrder < SortOrder.NONE || request.sortOrder > SortOrder.DESCEND) {
    throw etcd.invalidSortOption();
  }
  if (request.sortTarget < SortTarget.KEY || request.sortTarget > SortTarget.VALUE) {
    throw etcd.invalidSortOption();
  }
}

/** Throws `StatusError` for a put that etcd refuses before it proposes it. */
export function checkPut(request: PutRequest): void {
  if (request.key.length === 0) throw etcd.emptyKey();
  if (request.ignoreValue && request.value.length !== 0) throw etcd.valueProvided();
  if (request.ignoreLease && request.lease !== 0n) throw etcd.leaseProvided();
}

/** Throws `StatusError` for a deletion that etcd refuses before it proposes it. */
export function checkDeleteRange(request: DeleteRangeRequest): void {
  if (request.key.length === 0) throw etcd.emptyKey();
}

/**
 * Throws `StatusError` for a transaction that etcd refuses before it proposes it: too many operations, an empty key, an
 * operation without a kind, or a key that is put twice, or put and deleted. Also for one that would crash it.
 */
export function checkTxn(request: TxnRequest, maxTxnOps: number): void {
  checkOperations(request, maxTxnOps);
  checkOverlaps(request.success);
  checkOverlaps(request.failure);
  checkKept(request.success, undefined);
  checkKept(request.failure, undefined);
}

/**
 * How many operations of etcd's `--max-txn-ops` a transaction needs. Those of nested transactions are added to those of the level
 * above.
 */
export function operationsOf({ compare, success, failure }: TxnRequest): number {
  const own = Math.max(compare.length, success.length, failure.length);
  const nested = [...success, ...failure].map((op) => (op.kind === "txn" ? operationsOf(op.request) : 0));
  return own + Math.max(0, ...nested);
}

function checkOperations(request: TxnRequest, maxTxnOps: number): void {
  const operations = Math.max(request.compare.length, request.success.length, request.failure.length);
  if (operations > maxTxnOps) throw etcd.tooManyOps();
  for (const compare of request.compare) {
    if (compare.key.length === 0) throw etcd.emptyKey();
  }
  // Nested levels get what this one leaves, which bounds the whole tree.
  for (const op of request.success) checkOperation(op, maxTxnOps - operations);
  for (const op of request.failure) checkOperation(op, maxTxnOps - operations);
}

function checkOperation(op: RequestOp, maxTxnOps: number): void {
  switch (op.kind) {
    case "range":
      checkRange(op.request);
      break;
    case "put":
      checkPut(op.request);
      break;
    case "deleteRange":
      checkDeleteRange(op.request);
      break;
    case "txn":
      checkOperations(op.request, maxTxnOps);
      break;
    default:
      throw etcd.keyNotFound();
  }
}

interface Writes {
  readonly puts: ReadonlySet<string>;
  readonly deletes: KeyRanges;
}

/**
 * Throws when one list of operations writes a key twice. As in etcd, the two branches of a nested transaction may put the
 * same key. A nested transaction's puts are compared with the deletions of the levels above and of the nested
 * transactions before it, not of those after it.
 */
function checkOverlaps(operations: readonly RequestOp[]): Writes {
  const deletes = new KeyRanges();
  for (const op of operations) {
    if (op.kind === "deleteRange") deletes.add(op.request.key, op.request.rangeEnd);
  }
  const puts = new Set<string>();
  for (const op of operations) {
    if (op.kind !== "txn") continue;
    const success = checkOverlaps(op.request.success);
    const failure = checkOverlaps(op.request.failure);
    for (const key of success.puts) {
      if (puts.has(key) || deletes.has(key)) throw etcd.duplicateKey();
      puts.add(key);
    }
    for (const key of failure.puts) {
      if (puts.has(key) && !success.puts.has(key)) throw etcd.duplicateKey();
      if (deletes.has(key)) throw etcd.duplicateKey();
      puts.add(key);
    }
    deletes.addAll(success.deletes);
    deletes.addAll(failure.deletes);
  }
  for (const op of operations) {
    if (op.kind !== "put") continue;
    const key = KeyRanges.text(op.request.key);
    if (puts.has(key) || deletes.has(key)) throw etcd.duplicateKey();
    puts.add(key);
  }
  return { puts, deletes };
}

/**
 * Throws for a put that keeps the value or lease of a key which the transaction has deleted before. etcd detects such a deletion
 * unless its range has no end. Then it crashes when it applies the transaction, now and after each restart. `from` is the start
 * of what such deletions before these operations have deleted. Returns the one after them.
 */
function checkKept(operations: readonly RequestOp[], from: string | undefined): string | undefined {
  let lowest = from;
  const lower = (start: string | undefined) => {
    if (start !== undefined && (lowest === undefined || start < lowest)) lowest = start;
  };
  for (const op of operations) {
    if (op.kind === "deleteRange") {
      if (compareBytes(op.request.rangeEnd, TO_LAST_KEY) === 0) lower(KeyRanges.text(op.request.key));
    } else if (op.kind === "put") {
      const { key, ignoreValue, ignoreLease } = op.request;
      const isDeleted = lowest !== undefined && KeyRanges.text(key) >= lowest;
      if (isDeleted && (ignoreValue || ignoreLease)) throw etcd.duplicateKey();
    } else if (op.kind === "txn") {
      // Which branch a nested transaction takes is not known yet.
      const before = lowest;
      lower(checkKept(op.request.success, before));
      lower(checkKept(op.request.failure, before));
    }
  }
  return lowest;
}

/**
 * Throws `requestTooLarge` for a write that etcd would not propose. etcd measures the whole Raft entry. That adds a header
 * with a request id (14 bytes at most) and the tag and length of the request.
 */
export function checkSize(request: Uint8Array, maxRequestBytes: number): void {
  const frame = 14 + 1 + varintLength(request.length);
  if (request.length + frame > maxRequestBytes) throw etcd.requestTooLarge();
}

/**
 * Throws etcd's NOSPACE error, naming the timeline host, while the host accepts no entries. This includes deletions, which
 * an etcd without space accepts: unsealed, they would only make their shard unreadable.
 */
export function checkSpace({ isHostFull }: Pick<Timeline, "isHostFull">): void {
  if (!isHostFull) return;
  const { code, message } = etcd.noSpace();
  throw new StatusError(code, `${message} (timeline host; nothing was written)`);
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++;
  return length;
}
