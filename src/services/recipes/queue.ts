import { isDenied } from "../../shard/access.js";
import { StatusError } from "../../status/error.js";
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
 * What locks and elections are made of, laid out as the clients' own (clientv3's concurrency package) so that both
 * stand in one queue: each session puts one key of its own below the name, attached to its lease; the key with the
 * lowest create revision holds the lock, or leads.
 */

/** TTL of a lease that is granted to a client who names none, seconds. */
const SESSION_TTL = 60;
const SLASH = Uint8Array.of(0x2f);
const AFTER_SLASH = Uint8Array.of(0x30);

/** The keys of one lock or election. */
export interface Queue {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

export function queueOf(name: Uint8Array): Queue {
  return { key: Buffer.concat([name, SLASH]), rangeEnd: Buffer.concat([name, AFTER_SLASH]) };
}

/** The key of a lease in a queue. */
export function keyIn(queue: Queue, lease: bigint): Uint8Array {
  return Buffer.concat([queue.key, Buffer.from(lease.toString(16))]);
}

/**
 * Uses a lease to hold something under: the client's own, or a new one, which does not outlive a refusal of what it was
 * for.
 */
export async function withSession<T>(
  client: Client,
  lease: bigint,
  use: (lease: bigint) => Promise<T>,
): Promise<T> {
  if (lease !== 0n) return use(lease);
  const granted = await client.grant(SESSION_TTL);
  try {
    return await use(granted);
  } catch (reason) {
    if (isDenied(StatusError.from(reason))) await client.revoke(granted).catch(() => undefined);
    throw reason;
  }
}

/** Reads the key that holds or leads, if any. */
export function firstOf(queue: Queue): Init<RangeRequest> {
  return { ...queue, limit: 1, sortTarget: SortTarget.CREATE, sortOrder: SortOrder.ASCEND };
}

/** Holds when the key was created at this revision; 0: when it is not there. */
export function createdAt(key: Uint8Array, createRevision: number): Init<Compare> {
  return { key, target: CompareTarget.CREATE, createRevision };
}

/** The answer to a range in a transaction. */
export function rangeOf(op: ResponseOp): RangeResponse {
  if (op.kind !== "range") throw new TypeError(`no answer to a range, but ${op.kind}`);
  return op.response;
}

/**
 * Resolves once no key of the queue is older than `createRevision`, with the header of the read that found none.
 * Watches only the one key that is next before.
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
    if (kvs.length === 0) return header!;
    await deletion(client, kvs[0], header!.revision);
  }
}

/** Resolves when a key that was there at `revision` is deleted, or may have been. */
async function deletion(client: Client, { key }: KeyValue, revision: number): Promise<void> {
  for await (const { events } of client.watch({ key, startRevision: revision + 1 })) {
    if (events.some(({ type }) => type === EventType.DELETE)) return;
  }
}
