import type { RequestOp, TxnRequest } from "../wire/messages.js";

/** What one request uses of one tenant's limits. */
export interface Usage {
  puts: number;
  ranges: number;
  transactions: number;
  /** Number of values that it puts: `puts` without deletions. */
  values: number;
  /** Size of the largest value that it puts. */
  largestValue: number;
}

export const noUsage = (): Usage => ({ puts: 0, ranges: 0, transactions: 0, values: 0, largestValue: 0 });

/** Finds what the range of an operation counts for. */
export type Find<T> = (key: Uint8Array, rangeEnd: Uint8Array) => T;

/** What a transaction uses, whatever its keys are. See `usageOfTxn`. */
export function wholeUsage(request: TxnRequest): Usage {
  const usage = noUsage();
  addWhole(usage, request);
  return usage;
}

function addWhole(usage: Usage, { success, failure }: TxnRequest): void {
  usage.transactions++;
  if (failure.length === 0) {
    addBranch(usage, success);
    return;
  }
  const one = noUsage();
  const other = noUsage();
  addBranch(one, success);
  addBranch(other, failure);
  keepLarger(one, other);
  add(usage, one);
}

function addBranch(usage: Usage, operations: readonly RequestOp[]): void {
  for (const op of operations) {
    if (op.kind === "txn") addWhole(usage, op.request);
    else if (op.kind === "put") addPut(usage, op.request.value);
    else if (op.kind === "range") usage.ranges++;
    else if (op.kind === "deleteRange") usage.puts++;
  }
}

/**
 * What a transaction uses, by what its operations and compares count for. Of two branches, the one that uses more counts, for
 * each number separately: nobody knows yet which one will be carried out. A transaction without any key counts for `nothing`.
 */
export function usageOfTxn<T>(
  request: TxnRequest,
  find: Find<T>,
  nothing: T,
): Iterable<readonly [owner: T, usage: Usage]> {
  const owners = new Owners(find, nothing);
  owners.add(request);
  if (owners.alike) return [[owners.first, wholeUsage(request)]];
  const usage = new Map<T, Usage>();
  addTxn(usage, request, find);
  return usage;
}

/** Finds out whether all keys of a transaction count for the same, as they mostly do. */
class Owners<T> {
  alike = true;
  private some = false;

  /** `first`: what a transaction without keys counts for. */
  constructor(
    private readonly find: Find<T>,
    public first: T,
  ) {}

  add({ compare, success, failure }: TxnRequest): void {
    for (const { key, rangeEnd } of compare) this.see(this.find(key, rangeEnd));
    this.addBranch(success);
    this.addBranch(failure);
  }

  private addBranch(operations: readonly RequestOp[]): void {
    for (const op of operations) {
      if (op.kind === "txn") this.add(op.request);
      else if (op.kind === "put") this.see(this.find(op.request.key, NO_END));
      else if (op.kind !== "none") this.see(this.find(op.request.key, op.request.rangeEnd));
    }
  }

  private see(owner: T): void {
    if (this.some) this.alike &&= owner === this.first;
    else {
      this.some = true;
      this.first = owner;
    }
  }
}

function addTxn<T>(usage: Map<T, Usage>, { compare, success, failure }: TxnRequest, find: Find<T>): void {
  const own = usageOfBranch(success, find);
  for (const [owner, other] of usageOfBranch(failure, find)) keepLarger(at(own, owner), other);
  for (const { key, rangeEnd } of compare) at(own, find(key, rangeEnd));
  for (const [owner, more] of own) {
    more.transactions++;
    add(at(usage, owner), more);
  }
}

function usageOfBranch<T>(operations: readonly RequestOp[], find: Find<T>): Map<T, Usage> {
  const usage = new Map<T, Usage>();
  for (const op of operations) {
    if (op.kind === "txn") addTxn(usage, op.request, find);
    else if (op.kind === "put") addPut(at(usage, find(op.request.key, NO_END)), op.request.value);
    else if (op.kind === "range") at(usage, find(op.request.key, op.request.rangeEnd)).ranges++;
    else if (op.kind === "deleteRange") at(usage, find(op.request.key, op.request.rangeEnd)).puts++;
  }
  return usage;
}

function addPut(usage: Usage, value: Uint8Array): void {
  usage.puts++;
  usage.values++;
  usage.largestValue = Math.max(usage.largestValue, value.length);
}

function add(usage: Usage, more: Usage): void {
  usage.puts += more.puts;
  usage.ranges += more.ranges;
  usage.transactions += more.transactions;
  usage.values += more.values;
  usage.largestValue = Math.max(usage.largestValue, more.largestValue);
}

function keepLarger(usage: Usage, other: Usage): void {
  usage.puts = Math.max(usage.puts, other.puts);
  usage.ranges = Math.max(usage.ranges, other.ranges);
  usage.transactions = Math.max(usage.transactions, other.transactions);
  usage.values = Math.max(usage.values, other.values);
  usage.largestValue = Math.max(usage.largestValue, other.largestValue);
}

const NO_END = new Uint8Array(0);

function at<T>(usage: Map<T, Usage>, owner: T): Usage {
  let each = usage.get(owner);
  if (each === undefined) {
    each = noUsage();
    usage.set(owner, each);
  }
  return each;
}
