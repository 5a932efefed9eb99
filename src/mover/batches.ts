// Indices below are in range by construction; `!` keeps the lookups free of checks.
import { keyAfter } from "../shard/rangeReader.js";
import type { MoverOptions } from "./options.js";
import type { MoverOp } from "./shard.js";

/** Operations of one transaction on a destination. All of them stand for one revision. */
export interface Batch {
  readonly target: number;
  readonly revision: number;
  /** Version offset of the lives that begin with this transaction. */
  readonly offset: number;
  readonly ops: MoverOp[];
}

/** Bytes of a request beyond its operations: two compares of gen, and etcd's own envelope. */
const ENVELOPE_BYTES = 1_024;
/** Bytes of an operation beyond its key and value. */
const OP_BYTES = 64;

/** Most bytes of operations, by `opBytes`, in a request. A single larger operation may still be accepted. */
const roomOf = ({ maxRequestBytes }: Pick<MoverOptions, "maxRequestBytes">): number =>
  maxRequestBytes - ENVELOPE_BYTES;

const opBytes = (op: MoverOp): number =>
  OP_BYTES + op.key.length + (op.kind === "put" ? op.value.length : (op.end?.length ?? 0));

/** Groups imports into transactions that the destinations accept. */
export class Batches {
  readonly all: Batch[] = [];
  private readonly open = new Map<string, { readonly batch: Batch; bytes: number }>();

  constructor(private readonly limits: Pick<MoverOptions, "maxTxnOps" | "maxRequestBytes">) {}

  add(target: number, revision: number, offset: number, op: MoverOp): void {
    const name = `${target} ${revision} ${offset}`;
    const bytes = opBytes(op);
    let last = this.open.get(name);
    const fits =
      last !== undefined &&
      last.batch.ops.length < this.limits.maxTxnOps &&
      last.bytes + bytes <= roomOf(this.limits);
    if (last === undefined || !fits) {
      last = { batch: { target, revision, offset, ops: [] }, bytes: 0 };
      this.open.set(name, last);
      this.all.push(last.batch);
    }
    last.batch.ops.push(op);
    last.bytes += bytes;
  }
}

/** Keys that one operation deletes. */
export interface Run {
  readonly key: Uint8Array;
  /** The end of the range [key, end); undefined: only `key`. */
  readonly end: Uint8Array | undefined;
  /** How many keys were found. */
  readonly keys: number;
}

/**
 * Divides keys, in ascending order, into runs. A run has at most `maxKeys` keys, and `isWhole` is true for its first and last key:
 * all keys between them may be deleted, whether they were found or not.
 */
export function runsOf(
  keys: readonly Uint8Array[],
  isWhole: (first: Uint8Array, last: Uint8Array) => boolean,
  maxKeys: number,
): Run[] {
  const runs: Run[] = [];
  for (let from = 0; from < keys.length; ) {
    const first = keys[from]!;
    const most = Math.min(maxKeys, keys.length - from);
    // The run has at least `length` keys, and fewer than `beyond`.
    let [length, beyond] = [1, most + 1];
    while (length + 1 < beyond) {
      const next = beyond > most ? Math.min(2 * length, most) : (length + beyond) >> 1;
      if (isWhole(first, keys[from + next - 1]!)) length = next;
      else beyond = next;
    }
    const end = length > 1 ? keyAfter(keys[from + length - 1]!) : undefined;
    runs.push({ key: first, end, keys: length });
    from += length;
  }
  return runs;
}

/** Groups runs into transactions that a shard accepts. */
export function deletions(
  runs: readonly Run[],
  limits: Pick<MoverOptions, "deleteKeys" | "maxTxnOps" | "maxRequestBytes">,
): Run[][] {
  const groups: Run[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  let keys = 0;
  for (const run of runs) {
    const more = OP_BYTES + run.key.length + (run.end?.length ?? 0);
    const group = groups.at(-1);
    const fits =
      group !== undefined &&
      group.length < limits.maxTxnOps &&
      keys + run.keys <= limits.deleteKeys &&
      bytes + more <= roomOf(limits);
    if (fits) group.push(run);
    else groups.push([run]);
    keys = (fits ? keys : 0) + run.keys;
    bytes = (fits ? bytes : 0) + more;
  }
  return groups;
}
