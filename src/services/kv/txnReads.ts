import type { Call } from "../../rpc/call.js";
import { Limiter } from "../../shard/limiter.js";
import { Code, StatusError } from "../../status/error.js";
import { RangeRequest, SortOrder, type TxnRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { askAsync, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";
import { readAt, translateRange } from "./translate.js";

/*
 * Bounds what a transaction may read. A request of a hundred bytes can name the same large range many times, and an etcd
 * builds the whole response before it sends the first byte.
 */

/** Most bytes that one transaction may read, if it reads more than `FREE_RANGES` ranges or many keys. */
const MAX_READ_BYTES = 128 * 1024 * 1024;
/** Single keys that a transaction may read unmeasured: etcd's default limit of operations. */
const FREE_KEYS = 128;
/** A range with at most this limit counts as that many keys. */
const SMALL_LIMIT = 16;
/** Ranges without a small limit that a transaction may read unmeasured. */
const FREE_RANGES = 8;
/** Concurrent reads of one transaction while it is measured or evaluated here. */
const MAX_CONCURRENT_READS = 4;

/** Throws RESOURCE_EXHAUSTED when a transaction has read more than it may. */
export class ReadBudget {
  private left = MAX_READ_BYTES;
  private readonly limiter = new Limiter(MAX_CONCURRENT_READS, Number.POSITIVE_INFINITY);

  spend(bytes: number): void {
    this.left -= bytes;
    if (this.left >= 0) return;
    throw new StatusError(
      Code.RESOURCE_EXHAUSTED,
      `etcd-braid: the transaction would read more than ${MAX_READ_BYTES >>> 20} MiB; read in several requests`,
    );
  }

  /** Runs `read` when few other reads are under way. Rejects without running it when the budget is used up. */
  run<T>(read: () => Promise<T>): Promise<T> {
    return this.limiter.run(() => {
      this.spend(0);
      return read();
    });
  }
}

export interface CountedRead {
  readonly range: RangeRequest;
  times: number;
}

/** The distinct ranges of a transaction with their number of occurrences, or undefined when it cannot read much. */
export function manyReads(
  request: TxnRequest,
  maxValueBytes: number,
): ReadonlyMap<string, CountedRead> | undefined {
  if (operations(request) <= FREE_RANGES) return undefined;
  const reads = new Map<string, CountedRead>();
  let ranges = collect(request, reads);
  let keys = 0;
  for (const { range, times } of reads.values()) {
    if (range.rangeEnd.length === 0) keys += times;
    else if (range.limit > 0 && range.limit <= SMALL_LIMIT) keys += times * range.limit;
    else ranges += times;
  }
  return ranges > FREE_RANGES || (keys > FREE_KEYS && keys * maxValueBytes > MAX_READ_BYTES)
    ? reads
    : undefined;
}

/** Number of compares and operations, including those of nested transactions. */
function operations({ compare, success, failure }: TxnRequest): number {
  let count = compare.length + success.length + failure.length;
  for (const op of success) if (op.kind === "txn") count += operations(op.request);
  for (const op of failure) if (op.kind === "txn") count += operations(op.request);
  return count;
}

/** Collects the ranges of both branches, since either may be taken. Returns the number of compares with a range. */
function collect({ compare, success, failure }: TxnRequest, reads: Map<string, CountedRead>): number {
  let compared = 0;
  for (const { rangeEnd } of compare) if (rangeEnd.length > 0) compared++;
  for (const op of [...success, ...failure]) {
    if (op.kind === "txn") compared += collect(op.request, reads);
    if (op.kind !== "range" || op.request.countOnly) continue;
    const range = { ...op.request, sortOrder: SortOrder.NONE, serializable: true };
    const key = Buffer.from(RangeRequest.encode(range)).toString("latin1");
    const known = reads.get(key);
    if (known === undefined) reads.set(key, { range, times: 1 });
    else known.times++;
  }
  return compared;
}

/**
 * Reads each of `reads` once, to learn how much the transaction would read on this shard. Rejects with RESOURCE_EXHAUSTED
 * when that is too much. Reads that fail count as empty, because the transaction will meet the same error.
 */
export async function measure(
  context: KvContext,
  call: Call,
  reads: ReadonlyMap<string, CountedRead>,
  shard: number,
): Promise<void> {
  const { timeline, limits } = context;
  const target = context.shardAt(shard);
  const budget = new ReadBudget();
  const sizeOf = async (range: RangeRequest): Promise<number> => {
    try {
      const at = range.revision > 0 ? readAt(range.revision, timeline, shard) : 0;
      const bytes = RangeRequest.encode(translateRange(range, at, timeline, shard));
      const options = callOptions(call, "stale read", limits);
      return (await askAsync(call, target, KV.Range, bytes, options)).length;
    } catch {
      return 0;
    }
  };
  const measured = [...reads.values()].map(({ range, times }) =>
    budget.run(async () => budget.spend(times * (await sizeOf(range)))),
  );
  await Promise.all(measured);
}
