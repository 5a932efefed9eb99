import { isDenied } from "../../shard/access.js";
import { StatusError } from "../../status/error.js";
import type { KeyRange } from "../../wire/keyRange.js";
import {
  type Compare,
  CompareTarget,
  EventType,
  type Init,
  type KeyValue,
  type RangeRequest,
  type RangeResponse,
  type ResponseHeader,
  type ResponseOp,
  SortOrder,
  SortTarget,
} from "../../wire/messages.js";
import type { Client } from "./client.js";

/*
 * The queue behind locks and elections. It has the key layout of clientv3's concurrency package, so that both kinds of
 * clients share a queue. Each session puts one key below the name, attached to its lease. The key with the lowest create
 * revision holds the lock, or leads.
 */

/** TTL of the lease for a client that names none. */
const SESSION_TTL_SECONDS = 60;
const SLASH = Uint8Array.of(0x2f);
const AFTER_SLASH = Uint8Array.of(0x30);

/** The keys of one lock or election. */
export type Queue = KeyRange;

export function queueOf(name: Uint8Array): Queue {
  return { key: Buffer.concat([name, SLASH]), rangeEnd: Buffer.concat([name, AFTER_SLASH]) };
}

/** The key of a lease in a queue. */
export function keyIn(queue: Queue, lease: bigint): Uint8Array {
  return Buffer.concat([queue.key, Buffer.from(lease.toString(16))]);
}

/** Runs `use` with the client's lease, or with a new one. The new lease is revoked when `use` is refused permission. */
export async function withSession<T>(
  client: Client,
  lease: bigint,
  use: (lease: bigint) => Promise<T>,
): Promise<T> {
  if (lease !== 0n) return use(lease);
  const granted = await client.grant(SESSION_TTL_SECONDS);
  try {
    return await use(granted);
  } catch (reason) {
    if (isDenied(StatusError.from(reason))) await client.revoke(granted).catch(() => undefined);
    throw reason;
  }
}

/** A read of the key that holds the lock or leads, if any. */
export function firstOf(queue: Queue): Init<RangeRequest> {
  return { ...queue, limit: 1, sortTarget: SortTarget.CREATE, sortOrder: SortOrder.ASCEND };
}

/** A compare that holds when the key was created at this revision, or for 0, when it does not exist. */
export function createdAt(key: Uint8Array, createRevision: number): Init<Compare> {
  return { key, target: CompareTarget.CREATE, createRevision };
}

/** The response to the range at `index` in a transaction. Throws where there is none. */
export function rangeAt(responses: readonly ResponseOp[], index: number): RangeResponse {
  const op = responses[index];
  if (op?.kind !== "range") throw new TypeError(`response ${index} is not a range, but ${op?.kind}`);
  return op.response;
}

/**
 * Resolves once no key of the queue is older than `createRevision`, to the header of the read that found none. Watches only
 * the next older key.
 */
export async function waitForTurn(
  client: Client,
  queue: Queue,
  createRevision: number,
): Promise<ResponseHeader> {
  for (;;) {
    const { header, kvs } = await client.range({
      ...queue,
      limit: 1,
      sortTarget: SortTarget.CREATE,
      sortOrder: SortOrder.DESCEND,
      maxCreateRevision: createRevision - 1,
    });
    client.check();
    const [previous] = kvs;
    if (previous === undefined) return header;
    await deletion(client, previous, header.revision);
  }
}

/** Resolves when a key that existed at `revision` is deleted, or may have been. */
async function deletion(client: Client, { key }: KeyValue, revision: number): Promise<void> {
  for await (const { events } of client.watch({ key, startRevision: revision + 1 })) {
    if (events.some(({ type }) => type === EventType.DELETE)) return;
  }
}
