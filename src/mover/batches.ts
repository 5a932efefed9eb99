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

const opBytes = (op: MoverOp): number => OP_BYTES + op.key.length + (op.kind === "put" ? op.value.length : 0);

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

/** Divides keys into groups that one transaction can compare and delete. Two more compares are for gen. */
export function deletions<T extends { readonly key: Uint8Array }>(
  keys: readonly T[],
  limits: Pick<MoverOptions, "maxTxnOps" | "maxRequestBytes">,
): T[][] {
  const groups: T[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const each of keys) {
    const more = 2 * (OP_BYTES + each.key.length);
    const group = groups.at(-1);
    if (group === undefined || group.length + 2 >= limits.maxTxnOps || bytes + more > roomOf(limits)) {
      groups.push([each]);
      bytes = more;
    } else {
      group.push(each);
      bytes += more;
    }
  }
  return groups;
}
