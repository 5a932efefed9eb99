import { mayCarryOut } from "../../auth/permission.js";
import type { Call } from "../../rpc/call.js";
import {
  type Compare,
  RangeRequest,
  type RangeResponse,
  type RequestOp,
  type ResponseHeader,
  type ResponseOp,
  type TxnRequest,
  TxnResponse,
} from "../../wire/messages.js";
import type { KvContext } from "./context.js";
import { checkRevisionInTxn, holds, NEEDS_VALUES } from "./evaluate.js";
import { atHead, readSnapshot } from "./snapshot.js";
import { txnHorizon } from "./translate.js";
import { manyReads, ReadBudget } from "./txnReads.js";
import { rangesOf, type TxnShape } from "./txnShape.js";

/** The branch that a transaction's compares have chosen, with the branches of nested transactions. */
interface Path {
  readonly succeeded: boolean;
  readonly steps: readonly Step[];
}

type Step = { readonly op: RequestOp; readonly nested?: Path };

/**
 * Answers a transaction that writes nothing, over any number of shards. All compares and operations see the state at one
 * revision, which is in the response's header.
 */
export async function txnOnSnapshot(
  context: KvContext,
  call: Call,
  request: TxnRequest,
  { serializable, shards }: Pick<TxnShape, "serializable" | "shards">,
): Promise<Uint8Array> {
  const { timeline, identity, places } = context;
  if (call.caller !== undefined) {
    // As in etcd, both branches need permission. Each shard that is read also judges its part.
    await mayCarryOut(context.shards.first, call, request.compare, request.success, request.failure);
  }
  const local = serializable && txnHorizon(request) <= timeline.head;
  return atHead(context, call, local, shards, async (newest) => {
    // A serializable read does not wait for keys that move.
    const head = local ? places.decided(rangesOf(request), newest) : newest;
    const many = manyReads(request, context.limits.maxRequestBytes) !== undefined;
    const snapshot = { context, call, head, budget: many ? new ReadBudget() : undefined };
    const path = await choose(snapshot, request);
    checkPath(path, head, context);
    const response = await execute(snapshot, path);
    return Buffer.concat([identity.header(head), TxnResponse.encode(response)]);
  });
}

/** What the reads of a transaction share. */
interface Snapshot {
  readonly context: KvContext;
  readonly call: Call;
  /** The revision to read at. */
  readonly head: number;
  /** Only for a transaction that may read much. */
  readonly budget: ReadBudget | undefined;
}

function read(snapshot: Snapshot, request: RangeRequest, at: number, kept: boolean): Promise<RangeResponse> {
  const { context, call, head, budget } = snapshot;
  if (budget === undefined) return readSnapshot(context, call, request, at, head);
  return budget.run(() => readSnapshot(context, call, request, at, head, kept ? budget : undefined));
}

/** Evaluates the compares. As in etcd, those of the whole tree come before any operation. */
async function choose(snapshot: Snapshot, request: TxnRequest): Promise<Path> {
  const held = await Promise.all(request.compare.map((compare) => evaluate(snapshot, compare)));
  const succeeded = held.every((one) => one);
  const ops = succeeded ? request.success : request.failure;
  const steps = await Promise.all(
    ops.map(async (op): Promise<Step> => {
      return op.kind === "txn" ? { op, nested: await choose(snapshot, op.request) } : { op };
    }),
  );
  return { succeeded, steps };
}

async function evaluate(snapshot: Snapshot, compare: Compare): Promise<boolean> {
  const { key, rangeEnd, target } = compare;
  const request: RangeRequest = {
    ...EVERYTHING,
    key,
    rangeEnd,
    keysOnly: !NEEDS_VALUES.has(target),
  };
  const { kvs } = await read(snapshot, request, snapshot.head, false);
  return holds(compare, kvs);
}

const EVERYTHING = RangeRequest.decode(new Uint8Array(0));

function checkPath(path: Path, head: number, context: KvContext): void {
  for (const step of path.steps) {
    if (step.nested !== undefined) checkPath(step.nested, head, context);
    else checkRevisionInTxn(step.op, head, context.timeline);
  }
}

async function execute(snapshot: Snapshot, path: Path): Promise<TxnResponse> {
  const responses = await Promise.all(path.steps.map((step) => executeStep(snapshot, step)));
  return { succeeded: path.succeeded, responses };
}

async function executeStep(snapshot: Snapshot, { op, nested }: Step): Promise<ResponseOp> {
  const { head } = snapshot;
  if (nested !== undefined) {
    const response = await execute(snapshot, nested);
    return { kind: "txn", response: { header: inner(0), ...response } };
  }
  if (op.kind === "range") {
    const at = op.request.revision > 0 ? op.request.revision : head;
    const response = await read(snapshot, op.request, at, true);
    return { kind: "range", response: { header: inner(head), ...response } };
  }
  // Only a deletion of a range that can have no key. Other writes never get here.
  return { kind: "deleteRange", response: { header: inner(head), deleted: 0, prevKvs: [] } };
}

/** The header of a response within a transaction's. As in etcd it has only a revision, and none in a nested transaction's. */
function inner(revision: number): ResponseHeader {
  return { clusterId: 0n, memberId: 0n, revision, raftTerm: 0 };
}
