import type { Call } from "../../rpc/call.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { guardedResponse } from "../../wire/guarded.js";
import { KEY_ALONE } from "../../wire/keyRange.js";
import {
  type Compare,
  CompareResult,
  CompareTarget,
  type Init,
  type KeyValue,
  RangeRequest,
  RangeResponse,
  type RequestOp,
  type ResponseOp,
  SortOrder,
  SortTarget,
  TxnRequest,
  TxnResponse,
} from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { peekRevision, rewriteTxn, translateKey, txnWrote } from "../../wire/rewrite.js";
import { askAsync, callOptions, unsealedWrite } from "./calls.js";
import { operationsOf } from "./check.js";
import type { KvContext } from "./context.js";
import { holds, NEEDS_VALUES } from "./evaluate.js";
import { BEGIN_AGAIN } from "./gen.js";
import { ordersNumbers } from "./holders.js";
import { mayMake } from "./judge.js";
import { ABSENT, visible } from "./keyspace.js";
import { revisionOfWrite } from "./late.js";
import { Selection } from "./selection.js";
import { readSnapshot } from "./snapshot.js";
import { constantCompare, mustReadFirst, translateTxn, txnHorizon } from "./translate.js";
import { rangesOf, type TxnShape } from "./txnShape.js";
import { sendWriteAsync, type Write } from "./write.js";

/*
 * Transactions that write, on a shard that cannot evaluate all of them, because keys have moved. The proxy evaluates some
 * compares on what it reads first. The shard then compares that the keys of these are unchanged. Ranges whose keys are on other
 * shards, at an old revision, are read first as well. Ranges that depend on the order of revisions or versions are completed
 * afterwards.
 */

/** Attempts while other clients change the keys that were read. */
const MAX_ATTEMPTS = 32;

/** Whether a shard cannot evaluate a transaction, all of whose keys it holds, by itself. */
export function needsReads(context: KvContext, request: TxnRequest, shard: number): boolean {
  const { places } = context;
  if (places.calmFrom === 0) return false;
  return hasSpecial(context, request, shard, places.hasImports(shard));
}

function hasSpecial(context: KvContext, request: TxnRequest, shard: number, hasImports: boolean): boolean {
  const { timeline } = context;
  if (hasImports && request.compare.some((compare) => mustReadFirst(compare, timeline, shard))) return true;
  return [...request.success, ...request.failure].some((op) => {
    if (op.kind === "txn") return hasSpecial(context, op.request, shard, hasImports);
    if (op.kind !== "range") return false;
    return isPast(context, op.request) || (hasImports && ordersNumbers(op.request));
  });
}

/** True for a range at an old revision, at which its keys may have been on other shards. */
function isPast({ places, timeline }: KvContext, { revision }: RangeRequest): boolean {
  return (
    revision > 0 &&
    revision <= timeline.head &&
    revision >= timeline.compactRevision &&
    revision < places.calmFrom
  );
}

/** Whether what a transaction returns can depend on revisions or versions that it names, or by which it sorts. */
function namesNumbers(request: TxnRequest): boolean {
  if (txnHorizon(request) > 0 || request.compare.some(({ version = 0 }) => version > 0)) return true;
  return [...request.success, ...request.failure].some(
    (op) =>
      (op.kind === "txn" && namesNumbers(op.request)) || (op.kind === "range" && ordersNumbers(op.request)),
  );
}

/**
 * Whether the response to a transaction that wrote nothing is valid at `revision`; see `Places.mayAnswer`. Imports that have come
 * since it was translated may have changed the shard's revisions of its keys.
 */
export function mayAnswerTxn(
  { places }: KvContext,
  request: TxnRequest,
  shard: number,
  position: number,
  shardRevision: number,
  revision: number,
): boolean {
  if (position !== places.position && places.hasImports(shard) && namesNumbers(request)) return false;
  for (const range of rangesOf(request)) {
    const seen = visible(range);
    if (seen !== undefined && !places.mayAnswer(position, seen, shard, shardRevision, revision)) return false;
  }
  return true;
}

/** The shard of a transaction, and the attempt of the call; see `Write`. */
interface Target extends Pick<Write, "shard" | "position" | "attempt"> {
  readonly shape: TxnShape;
}

/** Carries out a transaction that writes, and resolves to the response. Rejects with `BEGIN_AGAIN` to choose the shard again. */
export async function txnReadFirst(
  context: KvContext,
  call: Call,
  request: TxnRequest,
  target: Target,
): Promise<Uint8Array> {
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    const plan = new ReadFirst(context, call, target);
    const response = await plan.carryOut(request);
    if (response !== undefined) return response;
  }
  throw new StatusError(
    Code.UNAVAILABLE,
    "etcd-braid: the keys that the transaction compares change too often; nothing was written; try again",
  );
}

/** One attempt. */
class ReadFirst {
  /** Compares that the keys that were read are unchanged. */
  private readonly guards: Compare[] = [];
  /** Whether the compares that were evaluated hold. */
  private readonly evaluated = new Map<Compare, boolean>();
  /** The ranges that were read first, by operation of the request. */
  private readonly past = new Map<RangeRequest, RangeResponse>();
  private readonly hasImports: boolean;

  constructor(
    private readonly context: KvContext,
    private readonly call: Call,
    private readonly target: Target,
  ) {
    this.hasImports = context.places.hasImports(target.shard);
  }

  /** Resolves to undefined when the keys that were read have changed. Then nothing was written. */
  async carryOut(request: TxnRequest): Promise<Uint8Array | undefined> {
    const { context, call, target, guards } = this;
    const { shard, shape, position, attempt } = target;
    const prepared = translateTxn(await this.prepare(request), context.timeline, shard);
    const isGuarded = guards.length > 0;
    // Older etcds do not check permission for nested transactions.
    if (isGuarded && call.caller !== undefined)
      await mayMake(context, call, KV.Txn, TxnRequest.encode(prepared), shard);
    const succeeds = isGuarded ? await this.outcome(request) : undefined;
    const sent = await sendWriteAsync(context, call, {
      kind: "txn",
      shard,
      position,
      attempt,
      payload: TxnRequest.encode(isGuarded ? guarded(guards, prepared, succeeds) : prepared),
      leases: shape.leases,
      shardJudgesLeases: true,
      otherwise: isGuarded ? undefined : shape.otherwise,
    });
    if (!isGuarded) return this.answer(request, sent.response, sent.shardRevision);
    const response =
      succeeds === undefined ? guardedResponse(sent.response) : branchResponse(sent.response, succeeds);
    return response && this.answer(request, response, sent.shardRevision);
  }

  /**
   * Whether the transaction succeeds; undefined if the shard evaluates that. The proxy evaluates all compares if the guards would
   * leave the shard too little of its `--max-txn-ops`.
   */
  private async outcome(request: TxnRequest): Promise<boolean | undefined> {
    const { evaluated, guards } = this;
    const fails = () => request.compare.some((compare) => evaluated.get(compare) === false);
    const left = () => request.compare.filter((compare) => !evaluated.has(compare));
    if (fails()) return false;
    if (left().length > 0) {
      // The guards are a level above the transaction, and one more compare is for gen.
      if (operationsOf(request) + guards.length < this.context.limits.maxTxnOps) return undefined;
      await Promise.all(left().map((compare) => this.evaluateFirst(compare)));
    }
    return !fails();
  }

  private async answer(
    request: TxnRequest,
    response: Uint8Array,
    shardRevision: number,
  ): Promise<Uint8Array> {
    const { context, target } = this;
    const { timeline, identity } = context;
    const { shard, position } = target;
    const wrote = txnWrote(response);
    let revision: number;
    if (wrote) {
      await timeline.seal(shard, shardRevision, true).catch((reason) => {
        throw unsealedWrite(StatusError.from(reason));
      });
      revision = revisionOfWrite(context, shard, shardRevision);
    } else {
      await timeline.sync();
      await timeline.seal(shard, shardRevision, false);
      revision = timeline.readRevision(shard, shardRevision);
      if (!mayAnswerTxn(context, request, shard, position, shardRevision, revision)) throw BEGIN_AGAIN;
    }
    const inner = (x: number) => (x === 0 ? 0 : x >= shardRevision ? revision : revision - 1);
    const header = identity.header(revision);
    const rewritten = rewriteTxn(response, header, context.revisionsOf(shard), inner);
    return TxnResponse.encode(this.complete(request, TxnResponse.decode(rewritten)));
  }

  /** The transaction for the shard, still in clients' revisions. */
  private async prepare(request: TxnRequest): Promise<TxnRequest> {
    const compare = await Promise.all(request.compare.map((one) => this.evaluate(one)));
    const prepareAll = (ops: readonly RequestOp[]) => Promise.all(ops.map((op) => this.prepareOp(op)));
    const success = await prepareAll(request.success);
    const failure = await prepareAll(request.failure);
    return { ...request, compare, success, failure };
  }

  /** A compare that the shard can evaluate. Reads the keys if necessary, and adds guards for them. */
  private async evaluate(compare: Compare): Promise<Compare> {
    const { timeline } = this.context;
    const isOfShard =
      !this.hasImports ||
      visible(compare) === undefined ||
      !mustReadFirst(compare, timeline, this.target.shard);
    return isOfShard ? compare : constantCompare(compare, await this.evaluateFirst(compare));
  }

  /** Whether a compare holds, on keys that are read now. Adds guards for them. */
  private async evaluateFirst(compare: Compare): Promise<boolean> {
    const { context, call, target, guards } = this;
    const { shard } = target;
    const { key, rangeEnd } = visible(compare) ?? ABSENT;
    const { maxTxnOps } = context.limits;
    const range = RangeRequest.encode({
      key,
      rangeEnd,
      keysOnly: !NEEDS_VALUES.has(compare.target),
      limit: maxTxnOps,
    });
    const options = callOptions(call, "read", context.limits);
    const response = await askAsync(call, context.shardAt(shard), KV.Range, range, options);
    const shardRevision = peekRevision(response);
    const { kvs, more } = RangeResponse.decode(response);
    const unchanged = { target: CompareTarget.MOD, result: CompareResult.EQUAL, rangeEnd: KEY_ALONE };
    for (const kv of kvs) guards.push({ ...unchanged, key: kv.key, modRevision: kv.modRevision });
    // No key was put since. Without any key, etcd compares 0.
    const nothingNew = {
      target: CompareTarget.MOD,
      result: CompareResult.LESS,
      modRevision: shardRevision + 1,
    };
    // Without the compare's own operand, which could replace this one.
    guards.push({ key, rangeEnd, ...nothingNew });
    if (more || guards.length >= maxTxnOps) throw tooManyKeys(maxTxnOps);
    const map = context.revisionsOf(shard);
    for (const kv of kvs) translateKey(kv, map);
    const isMet = holds(compare, kvs);
    this.evaluated.set(compare, isMet);
    return isMet;
  }

  private async prepareOp(op: RequestOp): Promise<RequestOp> {
    if (op.kind === "txn") return { kind: "txn", request: await this.prepare(op.request) };
    if (op.kind !== "range") return op;
    const { request } = op;
    if (isPast(this.context, request)) {
      const read = await this.readPast(request);
      if (read === undefined) return op;
      this.past.set(request, read);
      return { kind: "range", request: { ...request, ...WHOLE, revision: 0, countOnly: true } };
    }
    if (!this.isCompletedLater(request)) return op;
    const keysOnly = request.keysOnly && request.sortTarget !== SortTarget.VALUE;
    return { kind: "range", request: { ...request, ...WHOLE, keysOnly } };
  }

  /** Undefined when the revision is compacted by now, which matters only if the operation's branch is taken. */
  private async readPast(request: RangeRequest): Promise<RangeResponse | undefined> {
    try {
      return await readSnapshot(this.context, this.call, request, request.revision, 0);
    } catch (reason) {
      if (etcd.compacted.is(reason)) return undefined;
      throw reason;
    }
  }

  private isCompletedLater(request: RangeRequest): boolean {
    return this.hasImports && ordersNumbers(request) && !request.countOnly;
  }

  /** The client's response: replaces the responses of ranges that the shard has not answered completely. */
  private complete(request: TxnRequest, response: TxnResponse): TxnResponse {
    const ops = response.succeeded ? request.success : request.failure;
    const responses = response.responses.map((one, index) => this.completeOp(ops[index], one));
    return { ...response, responses };
  }

  private completeOp(op: RequestOp | undefined, response: ResponseOp): ResponseOp {
    if (op?.kind === "txn" && response.kind === "txn")
      return {
        kind: "txn",
        response: { ...response.response, ...this.complete(op.request, response.response) },
      };
    if (op?.kind !== "range" || response.kind !== "range") return response;
    const { header, kvs } = response.response;
    const found = this.past.get(op.request) ?? (this.isCompletedLater(op.request) && select(op.request, kvs));
    if (found === false) return response;
    return { kind: "range", response: header === undefined ? found : { ...found, header } };
  }
}

/**
 * A transaction that is carried out only if the guards hold. If it is known whether it succeeds, only that branch is sent. The read
 * of gen that is added to the failure branch keeps an etcd from answering a branch of serializable ranges from old data.
 */
function guarded(
  guards: readonly Compare[],
  txn: TxnRequest,
  succeeds: boolean | undefined,
): Init<TxnRequest> {
  const compare = [...guards];
  if (succeeds === undefined) return { compare, success: [{ kind: "txn", request: txn }] };
  return { compare, success: succeeds ? txn.success : txn.failure };
}

/** The client's response from that to a branch; undefined if the guards did not hold. */
function branchResponse(response: Uint8Array, succeeds: boolean): Uint8Array | undefined {
  const decoded = TxnResponse.decode(response);
  return decoded.succeeded ? TxnResponse.encode({ ...decoded, succeeded: succeeds }) : undefined;
}

/** Evaluates a range whose keys are all in `kvs`. */
function select(request: RangeRequest, kvs: readonly KeyValue[]): RangeResponse {
  const selection = new Selection(request);
  const share = selection.share();
  for (const kv of kvs) share.add(kv);
  return selection.finish();
}

/** Fields of a Range that reads all keys of its range. */
const WHOLE = {
  limit: 0,
  sortOrder: SortOrder.NONE,
  sortTarget: SortTarget.KEY,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
} as const;

const tooManyKeys = (most: number): StatusError =>
  new StatusError(
    Code.UNAVAILABLE,
    "etcd-braid: the transaction compares versions or revisions of keys that have moved to this shard, and there are " +
      `too many of them (at most ${most - 1}); nothing was written`,
  );
