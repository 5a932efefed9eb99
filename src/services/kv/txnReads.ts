import type { Call } from "../../rpc/call.js";
import { Limiter } from "../../shard/limiter.js";
import { Code, StatusError } from "../../status/error.js";
import { RangeRequest, SortOrder, type TxnRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { askAsync, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";
import { readAt, translateRange } from "./translate.js";

/*
 * What a transaction may read. One of a hundred bytes can ask for the same large range over and over; an etcd makes all of
 * the answer before it sends the first byte.
 */

/** Bytes that one transaction may read, when it reads more than `FREE_RANGES` ranges or many keys. */
const MAX_BYTES = 128 * 1024 * 1024;
/** Keys that a transaction may read by themselves without a look at their size: as many as etcd's default of operations. */
const FREE_KEYS = 128;
/** A range with at most this limit counts as so many keys. */
const SMALL_LIMIT = 16;
/** Ranges without a small limit that a transaction may read without a look at their size. */
const FREE_RANGES = 8;
/** Reads of a transaction that are under way at the same time where it is measured, or put together here. */
const AT_ONCE = 4;

/** Throws RESOURCE_EXHAUSTED when a transaction has read more than it may. */
export class ReadBudget {
  private left = MAX_BYTES;
  private readonly limiter = new Limiter(AT_ONCE, Number.POSITIVE_INFINITY);

  spend(bytes: number): void {
    this.left -= bytes;
    if (this.left >= 0) return;
    throw new StatusError(
      Code.RESOURCE_EXHAUSTED,
      `etcd-braid: the transaction would read more than ${MAX_BYTES >>> 20} MiB; read in several requests`,
    );
  }

  /** Runs `read`, which needs not be waited for by many others of the transaction; not at all when nothing is left. */
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

/** The ranges of a transaction, each with how often it comes; undefined when it cannot read much. */
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
  return ranges > FREE_RANGES || (keys > FREE_KEYS && keys * maxValueBytes > MAX_BYTES) ? reads : undefined;
}

/** Compares and operations, of nested transactions too. */
function operations({ compare, success, failure }: TxnRequest): number {
  let count = compare.length + success.length + failure.length;
  for (const op of success) if (op.kind === "txn") count += operations(op.request);
  for (const op of failure) if (op.kind === "txn") count += operations(op.request);
  return count;
}

/** Collects the ranges of both branches: which one is taken is not known. Returns the number of compares with a range. */
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
 * Reads each of `reads` once, to know what the transaction would read on this shard. Rejects with RESOURCE_EXHAUSTED when
 * that is too much. What cannot be read is left to the transaction itself, which fails on it as well.
 */
export async function measure(
  context: KvContext,
  call: Call,
  reads: ReadonlyMap<string, CountedRead>,
  shard: number,
): Promise<void> {
  const { timeline, shards, limits } = context;
  const budget = new ReadBudget();
  const sizeOf = async (range: RangeRequest): Promise<number> => {
    try {
      const at = range.revision > 0 ? readAt(range.revision, timeline, shard) : 0;
      const bytes = RangeRequest.encode(translateRange(range, at, timeline, shard));
      const options = callOptions(call, "stale read", limits);
      return (await askAsync(call, shards[shard], KV.Range, bytes, options)).length;
    } catch {
      return 0;
    }
  };
  const measured = [...reads.values()].map(({ range, times }) =>
    budget.run(async () => budget.spend(times * (await sizeOf(range)))),
  );
  await Promise.all(measured);
}
