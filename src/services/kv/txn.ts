import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { StatusError } from "../../status/error.js";
import { FOLDED } from "../../timeline/logEnds.js";
import type { LogEnd } from "../../timeline/view.js";
import { TxnRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { peekRevision, rewriteTxn, txnWrote } from "../../wire/rewrite.js";
import { after, answer, answerAsync, ask, attempt, callOptions, unsealedWrite } from "./calls.js";
import { checkSize, checkSpace, checkTxn } from "./check.js";
import type { KvContext } from "./context.js";
import { decodeTxn } from "./decodeTxn.js";
import { BEGIN_AGAIN } from "./gen.js";
import { revisionOfWrite } from "./late.js";
import { txnOnSnapshot } from "./snapshotTxn.js";
import { oldestRead, translateTxn, txnHorizon } from "./translate.js";
import { mayAnswerTxn, needsReads, txnReadFirst } from "./txnReadFirst.js";
import { manyReads, measure } from "./txnReads.js";
import { acrossShards, rangesOf, shapeOf, type TxnShape } from "./txnShape.js";
import { sendWrite, type Write } from "./write.js";

/**
 * KV.Txn. It goes to the one shard that all compares and operations of all branches are on. Over several shards it is
 * answered from a snapshot if it cannot write, and refused otherwise.
 */
export function txnHandler(context: KvContext): UnaryHandler {
  const { limits } = context;
  return (call, bytes, reply) =>
    attempt(reply, () => {
      const request = decodeTxn(bytes);
      checkTxn(request, limits.maxTxnOps);
      route(context, call, request, bytes, 1, reply);
    });
}

function route(
  context: KvContext,
  call: Call,
  request: TxnRequest,
  bytes: Uint8Array,
  number: number,
  reply: Reply,
): void {
  const { router, timeline, limits, places } = context;
  // Before the shard is chosen.
  const position = timeline.placementPosition;
  const shape = shapeOf(request, router);
  if (!shape.readOnly) checkSize(bytes, limits.maxRequestBytes);
  const frozen = shape.serializable ? undefined : places.firstFrozen(rangesOf(request));
  if (frozen !== undefined && (shape.writes || shape.shards.length === 1)) {
    places.whenThawed(call, frozen, (error) => {
      if (error !== undefined) reply(error);
      else attempt(reply, () => route(context, call, request, bytes, number, reply));
    });
    return;
  }
  const shard = shape.shards.length === 1 ? shape.shards[0] : undefined;
  if (shard !== undefined) {
    if (shape.writes) checkSpace(timeline);
    const again = () => route(context, call, request, bytes, number + 1, reply);
    new ShardTxn(context, call, request, bytes, shape, shard, { position, number, again }, reply).begin();
    return;
  }
  if (shape.writes) throw acrossShards(request, router, context.shards);
  answerAsync(reply, () => txnOnSnapshot(context, call, request, shape));
}

/** One attempt of a call, with the placement that it goes by. */
interface Attempt {
  readonly position: number;
  /** From 1. */
  readonly number: number;
  /** Chooses the shard again. May throw. */
  again(): void;
}

/** One call of KV.Txn on one shard. Each step replies, or leads to the next one. */
class ShardTxn {
  /** `Timeline.prunedAt` when it was sent. */
  private prunedAt = 0;

  constructor(
    private readonly context: KvContext,
    private readonly call: Call,
    private readonly request: TxnRequest,
    /** The client's encoded request. */
    private readonly bytes: Uint8Array,
    private readonly shape: TxnShape,
    private readonly shard: number,
    private readonly attempt: Attempt,
    private readonly reply: Reply,
  ) {}

  /** Brings the head up to the revisions that the request names. */
  begin(): void {
    const { timeline } = this.context;
    if (txnHorizon(this.request) <= timeline.head) this.measure();
    else this.continueAfter(timeline.sync(), () => this.measure());
  }

  /** Refuses a transaction that would read too much. */
  private measure(): void {
    const { context, call, request, shard } = this;
    const reads = manyReads(request, context.limits.maxRequestBytes);
    if (reads === undefined) this.send();
    else this.continueAfter(measure(context, call, reads, shard), () => this.send());
  }

  private send(): void {
    const { context, request, shape } = this;
    if (needsReads(context, request, this.shard) || this.isTooOld(context.timeline.head)) {
      if (shape.writes) this.readFirst();
      else this.readSnapshot();
      return;
    }
    this.prunedAt = context.timeline.prunedAt;
    const translated = translateTxn(request, context.timeline, this.shard);
    const payload = translated === request ? this.bytes : TxnRequest.encode(translated);
    // A transaction that cannot write needs no compare of gen.
    if (!shape.writes) this.ask(payload);
    else this.write(payload);
  }

  private ask(payload: Uint8Array): void {
    const { context, call, shape, shard } = this;
    const options = callOptions(call, shape.serializable ? "stale read" : "read", context.limits);
    const end = shape.serializable ? FOLDED : context.timeline.beginRead(shard);
    ask(call, context.shardAt(shard), KV.Txn, payload, options, (error, response) => {
      if (error !== undefined) this.reply(error);
      else attempt(this.reply, () => this.executed(response, peekRevision(response), end));
    });
  }

  private write(payload: Uint8Array): void {
    const { context, call, shape, shard, attempt: own } = this;
    const write: Write = {
      kind: "txn",
      shard,
      position: own.position,
      attempt: own.number,
      payload,
      leases: shape.leases,
      shardJudgesLeases: true,
      otherwise: shape.otherwise,
    };
    sendWrite(context, call, write, (error, response, shardRevision) => {
      if (error === BEGIN_AGAIN) attempt(this.reply, () => own.again());
      else if (error !== undefined) this.reply(error);
      else attempt(this.reply, () => this.executed(response, shardRevision, undefined));
    });
  }

  private readSnapshot(): void {
    const { context, call, request, shape } = this;
    answerAsync(this.reply, () => txnOnSnapshot(context, call, request, shape));
  }

  private readFirst(): void {
    const { context, call, request, shape, shard, attempt: own } = this;
    const target = { shard, position: own.position, attempt: own.number, shape };
    txnReadFirst(context, call, request, target).then(
      (response) => this.reply(undefined, response),
      (reason) => {
        if (reason === BEGIN_AGAIN) attempt(this.reply, () => own.again());
        else this.reply(StatusError.from(reason));
      },
    );
  }

  /** True when a serializable transaction cannot be evaluated at `revision`, because its keys may have been elsewhere. */
  private isTooOld(revision: number): boolean {
    return this.shape.serializable && revision < this.context.places.calmFrom;
  }

  /** Without `end`, the log's end is read now if the transaction wrote nothing, which costs one more round trip. */
  private executed(response: Uint8Array, revision: number, end: LogEnd | undefined): void {
    const { timeline } = this.context;
    const { shard } = this;
    if (txnWrote(response)) {
      timeline.whenSealed(shard, revision, true, (unsealed) => {
        if (unsealed !== undefined) this.reply(unsealedWrite(unsealed));
        else this.wrote(response, revision);
      });
      return;
    }
    timeline.whenRead(shard, revision, end ?? timeline.beginRead(shard), (unsealed) => {
      if (unsealed !== undefined) this.reply(unsealed);
      else this.read(response, revision, timeline.readRevision(shard, revision));
    });
  }

  private wrote(response: Uint8Array, shardRevision: number): void {
    attempt(this.reply, () => {
      const revision = revisionOfWrite(this.context, this.shard, shardRevision, this.oldest());
      this.answer(response, shardRevision, revision);
    });
  }

  /** The oldest revision that the transaction reads at, if the timeline was pruned since it was sent; else infinity. */
  private oldest(): number {
    const { context, request } = this;
    return context.timeline.prunedAt === this.prunedAt ? Number.POSITIVE_INFINITY : oldestRead(request);
  }

  /** Answers when nothing was written, unless keys have moved meanwhile, or a pruning has overtaken the response. */
  private read(response: Uint8Array, shardRevision: number, revision: number): void {
    const { context, request, shard, shape } = this;
    const { position, again } = this.attempt;
    if (Math.min(revision, this.oldest()) < context.timeline.prunedAt) {
      // Not from the same member again, which may lag behind.
      if (shape.serializable) this.readSnapshot();
      else attempt(this.reply, again);
    } else if (context.places.position !== position) {
      if (mayAnswerTxn(context, request, shard, position, shardRevision, revision)) {
        this.answer(response, shardRevision, revision);
      } else {
        attempt(this.reply, again);
      }
    } else if (this.isTooOld(revision)) {
      this.readSnapshot();
    } else {
      this.answer(response, shardRevision, revision);
    }
  }

  private answer(response: Uint8Array, shardRevision: number, revision: number): void {
    const { context } = this;
    answer(this.reply, () => {
      // In etcd, an operation before the first write has the previous revision in its header, a nested transaction none.
      const inner = (x: number) => (x === 0 ? 0 : x >= shardRevision ? revision : revision - 1);
      return rewriteTxn(response, context.identity.header(revision), context.revisionsOf(this.shard), inner);
    });
  }

  private continueAfter(promise: Promise<unknown>, step: () => void): void {
    after(promise, (error) => {
      if (error !== undefined) this.reply(error);
      else attempt(this.reply, step);
    });
  }
}
