import type { UnaryHandler } from "../../rpc/call.js";
import { PutRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { peekRevision, rewritePut } from "../../wire/rewrite.js";
import { answer, attempt, unsealedWrite } from "./calls.js";
import { checkPut, checkSize, checkSpace } from "./check.js";
import type { KvContext } from "./context.js";
import { isReserved, reservedKey } from "./keyspace.js";
import { NO_LEASES, sendWrite } from "./write.js";

/** KV.Put, which always concerns one shard. */
export function putHandler(context: KvContext): UnaryHandler {
  const { router, timeline, identity, limits } = context;
  return (call, bytes, reply) =>
    attempt(reply, () => {
      const request = PutRequest.decode(bytes);
      checkPut(request);
      if (isReserved(request.key)) throw reservedKey(request.key);
      checkSize(bytes, limits.maxRequestBytes);
      checkSpace(timeline);
      const shard = router.shardOf(request.key);
      const leases = request.lease === 0n ? NO_LEASES : [request.lease];
      const write = { path: KV.Put, shard, payload: bytes, leases, shardJudgesLeases: false };
      sendWrite(context, call, write, (error, response) =>
        attempt(reply, () => {
          if (error !== undefined) return reply(error);
          const revision = peekRevision(response);
          timeline.whenSealed(shard, revision, true, (unsealed) => {
            if (unsealed !== undefined) return reply(unsealedWrite(unsealed));
            answer(reply, () => {
              const header = identity.header(timeline.toRevision(shard, revision));
              return rewritePut(response, header, context.revisionsOf(shard));
            });
          });
        }),
      );
    });
}
