import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import type { Done } from "../../shard/shard.js";
import { FOLDED } from "../../timeline/ends.js";
import type { LogEnd, Sealed } from "../../timeline/view.js";
import { TxnRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { peekRevision, rewriteTxn, txnWrote } from "../../wire/rewrite.js";
import { after, answer, answerAsync, ask, attempt, callOptions, unsealedWrite } from "./calls.js";
import { checkSize, checkSpace, checkTxn } from "./check.js";
import type { KvContext } from "./context.js";
import { txnOnSnapshot } from "./snapshotTxn.js";
import { translateTxn, txnHorizon } from "./translate.js";
import { manyReads, measure } from "./txnReads.js";
import { acrossShards, shapeOf, type TxnShape } from "./txnShape.js";
import { sendWrite } from "./write.js";

/**
 * KV.Txn. It goes to the one shard that all compares and operations of all branches are on. Over several shards it is
 * answered from a snapshot if it cannot write, and refused otherwise.
 */
export function txnHandler(context: KvContext): UnaryHandler {
  const { router, timeline, limits } = context;
  return (call, bytes, reply) =>
    attempt(reply, () => {
      const request = TxnRequest.decode(bytes);
      checkTxn(request, limits.maxTxnOps);
      const shape = shapeOf(request, router);
      if (!shape.readOnly) checkSize(bytes, limits.maxRequestBytes);
      const shard = shape.shards.length === 1 ? shape.shards[0] : undefined;
      if (shard === undefined) {
        if (shape.writes) throw acrossShards(request, router, context.shards);
        return answerAsync(reply, () => txnOnSnapshot(context, call, request, shape));
      }
      if (shape.writes) checkSpace(timeline);
      const send = () => {
        const given = { request, bytes, shape, shard };
        const reads = manyReads(request, limits.maxRequestBytes);
        if (reads === undefined) return sendTxn(context, call, given, reply);
        after(measure(context, call, reads, shard), (error) => {
          if (error !== undefined) reply(error);
          else attempt(reply, () => sendTxn(context, call, given, reply));
        });
      };
      if (txnHorizon(request) <= timeline.head) return send();
      after(timeline.sync(), (error) => {
        if (error !== undefined) reply(error);
        else attempt(reply, send);
      });
    });
}

interface Given {
  readonly request: TxnRequest;
  /** The client's encoded request. */
  readonly bytes: Uint8Array;
  readonly shape: TxnShape;
  /** The one shard that it concerns. */
  readonly shard: number;
}

function sendTxn(context: KvContext, call: Call, given: Given, reply: Reply): void {
  const { timeline, limits } = context;
  const { request, bytes, shape, shard } = given;
  const translated = translateTxn(request, timeline, shard);
  const payload = translated === request ? bytes : TxnRequest.encode(translated);
  let end: LogEnd | undefined;
  const done: Done = (error, response) => {
    if (error !== undefined) reply(error);
    else attempt(reply, () => answerTxn(context, shard, end, response, reply));
  };
  if (shape.readOnly) {
    const kind = shape.serializable ? "stale read" : "read";
    end = shape.serializable ? FOLDED : timeline.beginRead(shard);
    ask(call, context.shardAt(shard), KV.Txn, payload, callOptions(call, kind, limits), done);
  } else {
    const write = { path: KV.Txn, shard, payload, leases: shape.leases, shardJudgesLeases: true };
    sendWrite(context, call, write, done);
  }
}

/** Without `end`, the log's end is read now if the transaction wrote nothing, which costs one more round trip. */
function answerTxn(
  context: KvContext,
  shard: number,
  end: LogEnd | undefined,
  response: Uint8Array,
  reply: Reply,
): void {
  const { timeline, identity } = context;
  const shardRevision = peekRevision(response);
  const wrote = txnWrote(response);
  const labelled: Sealed = (unsealed) => {
    if (unsealed !== undefined) return reply(wrote ? unsealedWrite(unsealed) : unsealed);
    answer(reply, () => {
      const revision = wrote
        ? timeline.toRevision(shard, shardRevision)
        : timeline.readRevision(shard, shardRevision);
      // In etcd, an operation before the first write has the previous revision in its header, a nested transaction none.
      const inner = (x: number) => (x === 0 ? 0 : x >= shardRevision ? revision : revision - 1);
      return rewriteTxn(response, identity.header(revision), context.revisionsOf(shard), inner);
    });
  };
  if (wrote) timeline.whenSealed(shard, shardRevision, true, labelled);
  else timeline.whenRead(shard, shardRevision, end ?? timeline.beginRead(shard), labelled);
}
