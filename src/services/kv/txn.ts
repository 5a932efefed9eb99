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
 * KV.Txn: handed to the one shard that all its compares and operations, in all branches, are on; over several
 * shards answered from a snapshot if it cannot write, else refused.
 */
export function txnHandler(context: KvContext): UnaryHandler {
  const { router, timeline, limits } = context;
  return (call, bytes, reply) =>
    attempt(reply, () => {
      const request = TxnRequest.decode(bytes);
      checkTxn(request, limits.maxTxnOps);
      const shape = shapeOf(request, router);
      if (!shape.readOnly) checkSize(bytes, limits.maxRequestBytes);
      if (shape.shards.length !== 1) {
        if (shape.writes) throw acrossShards(request, router, context.shards);
        return answerAsync(reply, () => txnOnSnapshot(context, call, request, shape));
      }
      if (shape.writes) checkSpace(timeline);
      const send = () => {
        const given = { request, bytes, shape };
        const reads = manyReads(request, limits.maxRequestBytes);
        if (reads === undefined) return sendTxn(context, call, given, reply);
        after(measure(context, call, reads, shape.shards[0]), (error) => {
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
  /** The request as it came. */
  readonly bytes: Uint8Array;
  readonly shape: TxnShape;
}

function sendTxn(context: KvContext, call: Call, given: Given, reply: Reply): void {
  const { timeline, shards, limits } = context;
  const { request, bytes, shape } = given;
  const shard = shape.shards[0];
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
    ask(call, shards[shard], KV.Txn, payload, callOptions(call, kind, limits), done);
  } else {
    const write = { path: KV.Txn, shard, payload, leases: shape.leases, shardJudgesLeases: true };
    sendWrite(context, call, write, done);
  }
}

/** Without `end` it is read now if need be: it costs a round trip more, but only those transactions that wrote nothing. */
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
      // Inside, etcd heads what came before the first write with the revision before it, and a nested
      // transaction with none.
      const inner = (x: number) => (x === 0 ? 0 : x >= shardRevision ? revision : revision - 1);
      return rewriteTxn(response, identity.header(revision), context.toRevision[shard], inner);
    });
  };
  if (wrote) timeline.whenSealed(shard, shardRevision, true, labelled);
  else timeline.whenRead(shard, shardRevision, end ?? timeline.beginRead(shard), labelled);
}
