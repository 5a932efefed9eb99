import { mayCarryOut, mayRead } from "../../auth/permission.js";
import type { Call, UnaryHandler } from "../../rpc/call.js";
import { isDenied } from "../../shard/access.js";
import { Code, StatusError } from "../../status/error.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { DeleteRangeRequest, EMPTY, PutRequest, RangeRequest, TxnRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { checkDeleteRange, checkPut, checkRange, checkTxn } from "./check.js";
import type { KvContext } from "./context.js";
import { visible } from "./keyspace.js";
import { extentsOf } from "./txnShape.js";

/**
 * The proxy's own errors (a reserved key, a future revision, too many shards) are for clients that may make the request:
 * before the handler's error is passed on, a shard judges the client. Where the shard cannot be asked, the client gets
 * the reason for that.
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

/** True for an error that says nothing of the request. */
function isOutage({ code }: StatusError): boolean {
  return code === Code.UNAVAILABLE || code === Code.DEADLINE_EXCEEDED || code === Code.CANCELLED;
}

/**
 * Has a shard judge whether a client may make a request, without carrying it out; by default the first that the request
 * concerns. Rejects with the shard's refusal, or with the error of a request that etcd refuses unseen.
 */
export async function mayMake(
  context: KvContext,
  call: Call,
  path: string,
  bytes: Uint8Array,
  shard?: number,
): Promise<void> {
  const at = (extent: KeyRange | undefined) => context.shards[shard ?? shardOf(context, extent)];
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
    const [first] = extentsOf(request);
    await mayCarryOut(at(first), call, request.compare, request.success, request.failure);
  }
}

/** The first shard that can have keys of an extent; any where none can. */
function shardOf({ router }: KvContext, extent: KeyRange | undefined): number {
  const seen = extent && visible(extent);
  if (seen === undefined) return 0;
  if (seen.rangeEnd.length === 0) return router.shardOf(seen.key);
  return router.shardsOf(seen.key, seen.rangeEnd)[0] ?? 0;
}

/** The read of what a write returns as well: etcd 3.4 judges that in a transaction only when it is an operation. */
function previous(request: {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  readonly prevKv: boolean;
}) {
  const { key, rangeEnd, prevKv } = request;
  return prevKv ? [{ kind: "range" as const, request: { key, rangeEnd } }] : [];
}
