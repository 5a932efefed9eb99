import { mayCarryOut } from "../../auth/permission.js";
import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import type { Sealed } from "../../timeline/view.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { DeleteRangeRequest, DeleteRangeResponse, TxnRequest, TxnResponse } from "../../wire/messages.js";
import { deletedCount, rewriteDeleteRange, translateKey } from "../../wire/rewrite.js";
import { answer, answerAsync, attempt, unsealedWrite } from "./calls.js";
import { checkDeleteRange, checkSize, checkSpace } from "./check.js";
import type { KvContext } from "./context.js";
import { BEGIN_AGAIN } from "./gen.js";
import { reservedKey, shardsOfRange, visible } from "./keyspace.js";
import { revisionOfWrite, unknownDeletion } from "./late.js";
import { atHead } from "./snapshot.js";
import { NO_LEASES, sendWrite, sendWriteAsync, type Write } from "./write.js";

/**
 * KV.DeleteRange. Over several shards it runs on all of them at once and is not atomic. Where it fails on some, the error
 * reports what was deleted on the others.
 */
export function deleteRangeHandler(context: KvContext): UnaryHandler {
  const { timeline, limits } = context;
  return (call, bytes, reply) =>
    attempt(reply, () => {
      const request = DeleteRangeRequest.decode(bytes);
      checkDeleteRange(request);
      const range = visible(request);
      if (range === undefined && request.rangeEnd.length === 0) throw reservedKey(request.key);
      checkSize(bytes, limits.maxRequestBytes);
      checkSpace(timeline);
      if (range === undefined) return answerAsync(reply, () => nothingDeleted(context, call, request));
      const payload = range === request ? bytes : DeleteRangeRequest.encode({ ...request, ...range });
      const deletion = { request, payload, range, previous: request.prevKv ? range : undefined };
      carryOut(context, call, deletion, 1, reply);
    });
}

/** A deletion of keys that clients can see. */
interface Deletion {
  /** The client's request. */
  readonly request: DeleteRangeRequest;
  /** The request for the shards. */
  readonly payload: Uint8Array;
  readonly range: KeyRange;
  /** Set if the response includes the previous values of these keys. */
  readonly previous: KeyRange | undefined;
}

/** The response for an empty range, once a shard has let the client delete there. */
async function nothingDeleted(
  context: KvContext,
  call: Call,
  request: DeleteRangeRequest,
): Promise<Uint8Array> {
  if (call.caller !== undefined) {
    await mayCarryOut(context.shards.first, call, [], [{ kind: "deleteRange", request }]);
  }
  return atHead(context, call, false, [], async (head) => context.identity.header(head));
}

function carryOut(context: KvContext, call: Call, deletion: Deletion, number: number, reply: Reply): void {
  const { timeline, identity, router, places } = context;
  const { range } = deletion;
  if (places.isFrozen(range)) {
    places.whenThawed(call, range, (error) => {
      if (error !== undefined) reply(error);
      else attempt(reply, () => carryOut(context, call, deletion, number, reply));
    });
    return;
  }
  // Before the shard is chosen.
  const position = timeline.placementPosition;
  const [shard, ...others] = shardsOfRange(router, range);
  if (shard === undefined) {
    answerAsync(reply, () => nothingDeleted(context, call, deletion.request));
    return;
  }
  if (others.length > 0) {
    answerAsync(reply, () => deleteOnShards(context, call, deletion));
    return;
  }
  const write = writeOf(deletion, shard, position, number);
  sendWrite(context, call, write, (error, response, revision) =>
    attempt(reply, () => {
      if (error === BEGIN_AGAIN) return carryOut(context, call, deletion, number + 1, reply);
      if (error !== undefined) return reply(error);
      const written = deletedCount(response) > 0;
      const respond = (header: () => number) =>
        answer(reply, () =>
          rewriteDeleteRange(response, identity.header(header()), context.revisionsOf(shard)),
        );
      const labelled: Sealed = (unsealed) => {
        if (unsealed !== undefined) return reply(written ? unsealedWrite(unsealed) : unsealed);
        if (written) return respond(() => revisionOfWrite(context, shard, revision));
        const header = timeline.readRevision(shard, revision);
        if (places.mayAnswer(position, range, shard, revision, header)) respond(() => header);
        else attempt(reply, () => carryOut(context, call, deletion, number + 1, reply));
      };
      if (written) timeline.whenSealed(shard, revision, true, labelled);
      else timeline.whenRead(shard, revision, timeline.beginRead(shard), labelled);
    }),
  );
}

const writeOf = (
  { payload, previous }: Deletion,
  shard: number,
  position: number,
  number: number,
): Write => ({
  kind: "deleteRange",
  shard,
  position,
  attempt: number,
  payload,
  leases: NO_LEASES,
  shardJudgesLeases: false,
  previous,
});

interface Part {
  readonly response: DeleteRangeResponse;
  /** Revision of the deletion, or 0 when the shard had nothing to delete. */
  readonly revision: number;
}

interface Done {
  readonly shard: Shard;
  readonly part: Part;
}

/** What a deletion over several shards did on one of them. */
type Outcome = Done | { readonly shard: Shard; readonly error: unknown };

async function deleteOnShards(context: KvContext, call: Call, deletion: Deletion): Promise<Uint8Array> {
  const { timeline, router, places } = context;
  const done: Done[] = [];
  for (let number = 1, isDone = false; !isDone; number++) {
    while (places.isFrozen(deletion.range)) {
      await places.untilThawed(call, deletion.range).catch((reason) => {
        throw interrupted(done, StatusError.from(reason));
      });
    }
    // Before the shards are chosen.
    const position = timeline.placementPosition;
    const shards = shardsOfRange(router, deletion.range);
    const outcomes = await Promise.all(
      shards.map(async (index): Promise<Outcome> => {
        const shard = context.shardAt(index);
        try {
          const write = writeOf(deletion, index, position, number);
          const isShared = places.calmFrom > timeline.head;
          const deletePart = isShared ? deleteOwnPart : deleteWholePart;
          return { shard, part: await deletePart(context, call, deletion, write) };
        } catch (error) {
          return { shard, error };
        }
      }),
    );
    const failure = outcomes.find((outcome) => "error" in outcome && outcome.error !== BEGIN_AGAIN);
    if (failure !== undefined && "error" in failure) throw incomplete([...done, ...outcomes], failure.error);
    // A shard that has refused its part has changed its keys with others, so all of them are asked again.
    isDone = outcomes.every((outcome) => "part" in outcome);
    for (const outcome of outcomes) if ("part" in outcome) done.push(outcome);
  }
  const parts = done.map(({ part }) => part);
  const deleted = parts.reduce((sum, part) => sum + part.response.deleted, 0);
  const prevKvs = parts.flatMap((part) => part.response.prevKvs);
  prevKvs.sort((a, b) => Buffer.compare(a.key, b.key));
  if (deleted === 0) await context.timeline.refresh();
  const revision = deleted > 0 ? Math.max(...parts.map((part) => part.revision)) : context.timeline.head;
  const header = context.identity.header(revision);
  return Buffer.concat([header, DeleteRangeResponse.encode({ deleted, prevKvs })]);
}

/** Deletes the range on a shard that holds no keys of other shards. */
async function deleteWholePart(
  context: KvContext,
  call: Call,
  _deletion: Deletion,
  write: Write,
): Promise<Part> {
  const { shard } = write;
  const { response: bytes, shardRevision } = await sendWriteAsync(context, call, write);
  const response = DeleteRangeResponse.decode(bytes);
  const revision = await sealedPart(context, shard, shardRevision, response.deleted);
  const map = context.revisionsOf(shard);
  for (const kv of response.prevKvs) translateKey(kv, map);
  return { response, revision };
}

/**
 * Deletes the range on a shard that may also hold keys of other shards: copies, or what a move has left. They are deleted too,
 * which their shards do not notice. The response leaves them out.
 */
async function deleteOwnPart(
  context: KvContext,
  call: Call,
  { request, range }: Deletion,
  write: Write,
): Promise<Part> {
  const { shard } = write;
  const { places, timeline } = context;
  const keys = { ...range, keysOnly: !request.prevKv };
  const payload = TxnRequest.encode({
    success: [
      { kind: "range", request: keys },
      { kind: "deleteRange", request: range },
    ],
  });
  // The client asked for no keys, and need not be allowed to read them.
  const isAdmitted = call.caller !== undefined && !request.prevKv;
  if (isAdmitted) {
    await mayCarryOut(context.shardAt(shard), call, [], [{ kind: "deleteRange", request: range }]);
  }
  const sent = await sendWriteAsync(context, call, { ...write, kind: "txn", payload, isAdmitted });
  const [read] = TxnResponse.decode(sent.response).responses;
  if (read?.kind !== "range") throw new StatusError(Code.INTERNAL, "etcd-braid: a deletion without its keys");
  const { shardRevision } = sent;
  const { kvs } = read.response;
  const revision = await sealedPart(context, shard, shardRevision, kvs.length);
  // The moves that decide whose keys they were may be forgotten.
  if (kvs.length > 0 && revision < timeline.compactRevision) throw unknownDeletion(context, shard);
  const own = kvs.filter(({ key }) => places.counts(key, shard, shardRevision, revision));
  const map = context.revisionsOf(shard);
  for (const kv of own) translateKey(kv, map);
  const prevKvs = request.prevKv ? own : [];
  return { response: { deleted: own.length, prevKvs }, revision: own.length > 0 ? revision : 0 };
}

/** Seals a deletion. Resolves to its revision, or to 0 if it deleted nothing. */
async function sealedPart(
  context: KvContext,
  shard: number,
  shardRevision: number,
  deleted: number,
): Promise<number> {
  try {
    await context.timeline.seal(shard, shardRevision, deleted > 0);
  } catch (reason) {
    throw new UnsealedDelete(deleted, StatusError.from(reason));
  }
  return deleted > 0 ? revisionOfWrite(context, shard, shardRevision) : 0;
}

/** The shard has deleted keys, but the deletion is not sealed yet. */
class UnsealedDelete extends Error {
  constructor(
    readonly deleted: number,
    readonly reason: StatusError,
  ) {
    super(reason.message);
  }
}

/**
 * The error of a deletion that gave up between two attempts, because of `reason`. Shards that had no part in the move have deleted
 * their keys already.
 */
function interrupted(done: readonly Done[], reason: StatusError): StatusError {
  const deleted = done.filter(({ part }) => part.response.deleted > 0);
  if (deleted.length === 0) return reason;
  const [why] = reason.message.replace(/^etcd-braid: /, "").split("; nothing was written");
  const reports = [...deleted.map(report), why].join("; ");
  return new StatusError(reason.code, `${IN_PART}: ${reports}`, { cause: reason });
}

const IN_PART = "etcd-braid: range deleted in part";

/** The error of a deletion that failed on some of its shards, with the code of the first failure. */
function incomplete(outcomes: readonly Outcome[], first: unknown): StatusError {
  // Every shard refused alike, for example for want of permission: nothing was deleted anywhere.
  const alike = outcomes.every(
    (outcome) =>
      "error" in outcome &&
      outcome.error instanceof StatusError &&
      outcome.error.message === (first as Error).message,
  );
  if (alike) return StatusError.from(first);
  const { code } = first instanceof UnsealedDelete ? first.reason : StatusError.from(first);
  const reports = outcomes.map(report).join("; ");
  return new StatusError(code, `${IN_PART}: ${reports}`, { cause: first });
}

function report(outcome: Outcome): string {
  const name = describeShard(outcome.shard);
  if ("part" in outcome) return `${name} deleted ${outcome.part.response.deleted}`;
  const { error } = outcome;
  if (error instanceof UnsealedDelete) return `${name} deleted ${error.deleted}, but: ${error.message}`;
  // Connection errors name the shard already.
  return `${name} failed: ${StatusError.from(error).message.replace(`${name}: `, "")}`;
}
