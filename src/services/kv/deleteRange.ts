import { mayCarryOut } from "../../auth/permission.js";
import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { StatusError } from "../../status/error.js";
import type { Sealed } from "../../timeline/view.js";
import { DeleteRangeRequest, DeleteRangeResponse } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { deletedCount, peekRevision, rewriteDeleteRange } from "../../wire/rewrite.js";
import { answer, answerAsync, attempt, unsealedWrite } from "./calls.js";
import { checkDeleteRange, checkSize, checkSpace } from "./check.js";
import type { KvContext } from "./context.js";
import { reservedKey, visible } from "./keyspace.js";
import { atHead } from "./snapshot.js";
import { NO_LEASES, sendWrite, sendWriteAsync, type Write } from "./write.js";

/**
 * KV.DeleteRange. Over several shards it runs on each of them at the same time and is not atomic: where it fails on
 * some, the error tells what was deleted on the others.
 */
export function deleteRangeHandler(context: KvContext): UnaryHandler {
  const { router, timeline, limits } = context;
  return (call, bytes, reply) =>
    attempt(reply, () => {
      const request = DeleteRangeRequest.decode(bytes);
      checkDeleteRange(request);
      const extent = visible(request);
      if (extent === undefined && request.rangeEnd.length === 0) throw reservedKey(request.key);
      checkSize(bytes, limits.maxRequestBytes);
      checkSpace(timeline);
      if (extent === undefined) return answerAsync(reply, () => nothingDeleted(context, call, request));
      const payload = extent === request ? bytes : DeleteRangeRequest.encode({ ...request, ...extent });
      const shards =
        extent.rangeEnd.length === 0
          ? [router.shardOf(extent.key)]
          : router.shardsOf(extent.key, extent.rangeEnd);
      if (shards.length === 0) return answerAsync(reply, () => nothingDeleted(context, call, request));
      if (shards.length === 1) return deleteOnShard(context, call, payload, shards[0], reply);
      answerAsync(reply, () => deleteOnShards(context, call, payload, shards));
    });
}

/** The range is empty. */
async function nothingDeleted(
  context: KvContext,
  call: Call,
  request: DeleteRangeRequest,
): Promise<Uint8Array> {
  if (call.caller !== undefined) {
    await mayCarryOut(context.shards[0], call, [], [{ kind: "deleteRange", request }]);
  }
  return atHead(context, call, false, [], async (head) => context.identity.header(head));
}

function deleteOnShard(
  context: KvContext,
  call: Call,
  payload: Uint8Array,
  shard: number,
  reply: Reply,
): void {
  const { timeline, identity } = context;
  sendWrite(context, call, deletion(payload, shard), (error, response) =>
    attempt(reply, () => {
      if (error !== undefined) return reply(error);
      const revision = peekRevision(response);
      const written = deletedCount(response) > 0;
      const labelled: Sealed = (unsealed) => {
        if (unsealed !== undefined) return reply(written ? unsealedWrite(unsealed) : unsealed);
        answer(reply, () => {
          const header = written
            ? timeline.toRevision(shard, revision)
            : timeline.readRevision(shard, revision);
          return rewriteDeleteRange(response, identity.header(header), context.toRevision[shard]);
        });
      };
      if (written) timeline.whenSealed(shard, revision, true, labelled);
      else timeline.whenRead(shard, revision, timeline.beginRead(shard), labelled);
    }),
  );
}

const deletion = (payload: Uint8Array, shard: number): Write => ({
  path: KV.DeleteRange,
  shard,
  payload,
  leases: NO_LEASES,
  shardJudgesLeases: false,
});

interface Part {
  readonly response: DeleteRangeResponse;
  /** Revision of the deletion; 0 when the shard had nothing to delete. */
  readonly revision: number;
}

async function deleteOnShards(
  context: KvContext,
  call: Call,
  payload: Uint8Array,
  shards: readonly number[],
): Promise<Uint8Array> {
  const outcomes = await Promise.allSettled(shards.map((shard) => deletePart(context, call, payload, shard)));
  const parts: Part[] = [];
  for (const outcome of outcomes) {
    if (outcome.status === "rejected") throw incomplete(context, shards, outcomes, outcome.reason);
    parts.push(outcome.value);
  }
  const deleted = parts.reduce((sum, part) => sum + part.response.deleted, 0);
  const prevKvs = parts.flatMap((part) => part.response.prevKvs);
  prevKvs.sort((a, b) => Buffer.compare(a.key, b.key));
  if (deleted === 0) await context.timeline.refresh();
  const revision = deleted > 0 ? Math.max(...parts.map((part) => part.revision)) : context.timeline.head;
  const header = context.identity.header(revision);
  return Buffer.concat([header, DeleteRangeResponse.encode({ deleted, prevKvs })]);
}

async function deletePart(context: KvContext, call: Call, payload: Uint8Array, shard: number): Promise<Part> {
  const { timeline } = context;
  const bytes = await sendWriteAsync(context, call, deletion(payload, shard));
  const response = DeleteRangeResponse.decode(bytes);
  const shardRevision = peekRevision(bytes);
  const written = response.deleted > 0;
  try {
    await timeline.seal(shard, shardRevision, written);
  } catch (reason) {
    throw new UnsealedDelete(response.deleted, StatusError.from(reason));
  }
  const toRevision = context.toRevision[shard];
  for (const kv of response.prevKvs) {
    kv.createRevision = toRevision(kv.createRevision);
    kv.modRevision = toRevision(kv.modRevision);
  }
  return { response, revision: written ? toRevision(shardRevision) : 0 };
}

/** The shard has deleted, but the deletion has no revision yet. */
class UnsealedDelete extends Error {
  constructor(
    readonly deleted: number,
    readonly reason: StatusError,
  ) {
    super(reason.message);
  }
}

/** The error of a deletion that failed on some of its shards: the code of the first failure. */
function incomplete(
  context: KvContext,
  shards: readonly number[],
  outcomes: readonly PromiseSettledResult<Part>[],
  first: unknown,
): StatusError {
  // Nothing was deleted anywhere, and one text says it all: the client may not.
  const alike = outcomes.every(
    (outcome) =>
      outcome.status === "rejected" &&
      outcome.reason instanceof StatusError &&
      outcome.reason.message === (first as Error).message,
  );
  if (alike) return StatusError.from(first);
  const tales = outcomes.map((outcome, i) => {
    const name = `shard "${context.shards[shards[i]].name}"`;
    if (outcome.status === "fulfilled") return `${name} deleted ${outcome.value.response.deleted}`;
    if (outcome.reason instanceof UnsealedDelete) {
      return `${name} deleted ${outcome.reason.deleted}, but: ${outcome.reason.message}`;
    }
    // A connection's failure names the shard itself.
    return `${name} failed: ${StatusError.from(outcome.reason).message.replace(`${name}: `, "")}`;
  });
  const { code } = first instanceof UnsealedDelete ? first.reason : StatusError.from(first);
  return new StatusError(code, `etcd-braid: range deleted in part: ${tales.join("; ")}`, { cause: first });
}
