import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { StatusError } from "../../status/error.js";
import { EMPTY, PutRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { peekRevision, rewritePut } from "../../wire/rewrite.js";
import { unsealedWrite } from "./calls.js";
import { checkPut, checkSize, checkSpace } from "./check.js";
import type { KvContext } from "./context.js";
import { isReserved, reservedKey } from "./keyspace.js";
import { NO_LEASES, sendWrite } from "./write.js";

/** KV.Put, which always concerns one shard. */
export function putHandler(context: KvContext): UnaryHandler {
  return (call, bytes, reply) => new Put(context, call, reply).begin(bytes);
}

/** One call of KV.Put. Each step replies, or leads to the next one. */
class Put {
  private shard = 0;
  private response: Uint8Array = EMPTY;
  private shardRevision = 0;

  constructor(
    private readonly context: KvContext,
    private readonly call: Call,
    private readonly reply: Reply,
  ) {}

  begin(bytes: Uint8Array): void {
    const { router, timeline, limits } = this.context;
    try {
      const request = PutRequest.decode(bytes);
      checkPut(request);
      if (isReserved(request.key)) throw reservedKey(request.key);
      checkSize(bytes, limits.maxRequestBytes);
      checkSpace(timeline);
      this.shard = router.shardOf(request.key);
      this.write(bytes, request.lease);
    } catch (reason) {
      this.reply(StatusError.from(reason));
    }
  }

  private write(payload: Uint8Array, lease: bigint): void {
    const leases = lease === 0n ? NO_LEASES : [lease];
    const write = { path: KV.Put, shard: this.shard, payload, leases, shardJudgesLeases: false };
    sendWrite(this.context, this.call, write, (error, response) => {
      if (error !== undefined) this.reply(error);
      else this.written(response);
    });
  }

  private written(response: Uint8Array): void {
    try {
      this.response = response;
      this.shardRevision = peekRevision(response);
      this.context.timeline.whenSealed(this.shard, this.shardRevision, true, (unsealed) => {
        if (unsealed !== undefined) this.reply(unsealedWrite(unsealed));
        else this.sealed();
      });
    } catch (reason) {
      this.reply(StatusError.from(reason));
    }
  }

  private sealed(): void {
    const { identity, timeline } = this.context;
    let response: Uint8Array;
    try {
      const header = identity.header(timeline.toRevision(this.shard, this.shardRevision));
      response = rewritePut(this.response, header, this.context.revisionsOf(this.shard));
    } catch (reason) {
      this.reply(StatusError.from(reason));
      return;
    }
    this.reply(undefined, response);
  }
}
