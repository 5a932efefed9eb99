import { mayCarryOut, mayRead } from "../../auth/permission.js";
import type { Call, UnaryHandler } from "../../rpc/call.js";
import { isDenied } from "../../shard/access.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { DeleteRangeRequest, EMPTY, PutRequest, RangeRequest, TxnRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { checkDeleteRange, checkPut, checkRange, checkTxn } from "./check.js";
import type { KvContext } from "./context.js";
import { shardsOfRange, visible } from "./keyspace.js";
import { rangesOf } from "./txnShape.js";

/**
 * Wraps a handler so that only clients that may make the request get the proxy's own errors (a reserved key, a future
 * revision, too many shards). Before an error is passed on, a shard judges the client. Where the shard cannot be reached,
 * the client gets the reason for that.
 */
export function judged(context: KvContext, path: string, handler: UnaryHandler): UnaryHandler {
  return (call, bytes, reply) => {
    if (call.caller === undefined) {
      handler(call, bytes, reply);
      return;
    }
    handler(call, bytes, (error, response) => {
      if (error === undefined || isDenied(error) || isOutage(error)) {
        reply(error, response);
        return;
      }
      mayMake(context, call, path, bytes).then(
        () => reply(error),
        (reason) => {
          const refusal = StatusError.from(reason);
          reply(isDenied(refusal) || isOutage(refusal) ? refusal : error);
        },
      );
    });
  };
}

/** True for an error that does not depend on the request. */
function isOutage({ code }: StatusError): boolean {
  return code === Code.UNAVAILABLE || code === Code.DEADLINE_EXCEEDED || code === Code.CANCELLED;
}

/**
 * Has a shard judge whether a client may make a request, without carrying it out. By default the first shard that the
 * request concerns judges. Rejects with the shard's refusal, or with etcd's error for an invalid request.
 */
export async function mayMake(
  context: KvContext,
  call: Call,
  path: string,
  bytes: Uint8Array,
  shard?: number,
): Promise<void> {
  const at = (range: KeyRange | undefined) =>
    shard === undefined ? judgeOf(context, range) : context.shardAt(shard);
  if (path === KV.Range) {
    const request = RangeRequest.decode(bytes);
    checkRange(request);
    await mayRead(at(request), call, request);
  } else if (path === KV.Put) {
    const request = PutRequest.decode(bytes);
    checkPut(request);
    const ops = [{ kind: "put", request } as const, ...previous(request)];
    await mayCarryOut(at({ key: request.key, rangeEnd: EMPTY }), call, [], ops);
  } else if (path === KV.DeleteRange) {
    const request = DeleteRangeRequest.decode(bytes);
    checkDeleteRange(request);
    const ops = [{ kind: "deleteRange", request } as const, ...previous(request)];
    await mayCarryOut(at(request), call, [], ops);
  } else {
    const request = TxnRequest.decode(bytes);
    checkTxn(request, context.limits.maxTxnOps);
    const [first] = rangesOf(request);
    await mayCarryOut(at(first), call, request.compare, request.success, request.failure);
  }
}

/** The first shard that can have keys of a range, or simply the first one where none can. */
function judgeOf({ router, shards }: KvContext, range: KeyRange | undefined): Shard {
  const seen = range && visible(range);
  const [first] = seen === undefined ? [] : shardsOfRange(router, seen);
  return first === undefined ? shards.first : shards.at(first);
}

/** A read of the previous values that a write returns. In a transaction, etcd 3.4 judges that only as an operation. */
function previous(request: {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  readonly prevKv: boolean;
}) {
  const { key, rangeEnd, prevKv } = request;
  return prevKv ? [{ kind: "range" as const, request: { key, rangeEnd } }] : [];
}
