import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { KEY_ALONE } from "../../wire/keyRange.js";
import { EMPTY, PutRequest } from "../../wire/messages.js";
import { rewritePut } from "../../wire/rewrite.js";
import { attempt, unsealedWrite } from "./calls.js";
import { checkPut, checkSize, checkSpace } from "./check.js";
import type { KvContext } from "./context.js";
import { BEGIN_AGAIN } from "./gen.js";
import { isReserved, reservedKey } from "./keyspace.js";
import { revisionOfWrite } from "./late.js";
import { NO_LEASES, sendWrite, type Write } from "./write.js";

/** KV.Put, which always concerns one shard. */
export function putHandler(context: KvContext): UnaryHandler {
  return (call, bytes, reply) => new Put(context, call, reply).begin(bytes);
}

/** One call of KV.Put. Each step replies, or leads to the next one. */
class Put {
  private attempt = 0;
  private shard = 0;
  private response: Uint8Array = EMPTY;
  private shardRevision = 0;

  constructor(
    private readonly context: KvContext,
    private readonly call: Call,
    private readonly reply: Reply,
  ) {}

  begin(bytes: Uint8Array): void {
    const { timeline, limits } = this.context;
    try {
      const request = PutRequest.decode(bytes);
      checkPut(request);
      if (isReserved(request.key)) throw reservedKey(request.key);
      checkSize(bytes, limits.maxRequestBytes);
      checkSpace(timeline);
      this.write(bytes, request);
    } catch (reason) {
      this.reply(StatusError.from(reason));
    }
  }

  private write(payload: Uint8Array, request: PutRequest): void {
    const { router, timeline, places } = this.context;
    const { key, lease, prevKv } = request;
    const range = { key, rangeEnd: KEY_ALONE };
    if (places.isFrozen(range)) {
      places.whenThawed(this.call, range, (error) => {
        if (error !== undefined) this.reply(error);
        else attempt(this.reply, () => this.write(payload, request));
      });
      return;
    }
    // Before the shard is chosen.
    const position = timeline.placementPosition;
    this.shard = router.shardOf(key);
    const write: Write = {
      kind: "put",
      shard: this.shard,
      position,
      attempt: ++this.attempt,
      payload,
      leases: lease === 0n ? NO_LEASES : [lease],
      shardJudgesLeases: false,
      previous: prevKv ? range : undefined,
    };
    sendWrite(this.context, this.call, write, (error, response, shardRevision) => {
      if (error === undefined) this.written(response, shardRevision);
      else if (error === BEGIN_AGAIN) attempt(this.reply, () => this.write(payload, request));
      else if (lease !== 0n && etcd.keyNotFound.is(error)) this.refuse(error, lease);
      else this.reply(error);
    });
  }

  /** A put checks the lease before the key. In a transaction, which is what shards get, it is the other way round. */
  private refuse(keyNotFound: StatusError, lease: bigint): void {
    this.context.leases.exists(lease).then(
      (exists) => this.reply(exists ? keyNotFound : etcd.leaseNotFound()),
      (reason) => this.reply(StatusError.from(reason)),
    );
  }

  private written(response: Uint8Array, shardRevision: number): void {
    this.response = response;
    this.shardRevision = shardRevision;
    this.context.timeline.whenSealed(this.shard, shardRevision, true, (unsealed) => {
      if (unsealed !== undefined) this.reply(unsealedWrite(unsealed));
      else this.sealed();
    });
  }

  private sealed(): void {
    const { identity } = this.context;
    let response: Uint8Array;
    try {
      const header = identity.header(revisionOfWrite(this.context, this.shard, this.shardRevision));
      response = rewritePut(this.response, header, this.context.revisionsOf(this.shard));
    } catch (reason) {
      this.reply(StatusError.from(reason));
      return;
    }
    this.reply(undefined, response);
  }
}
