import type { Router } from "../../routing/router.js";
import { Code, StatusError } from "../../status/error.js";
import type {
  Init,
  KeyValue,
  LockRequest,
  LockResponse,
  ResponseHeader,
  UnlockRequest,
  UnlockResponse,
} from "../../wire/messages.js";
import type { Client } from "./client.js";
import {
  createdAt,
  firstOf,
  keyIn,
  type Queue,
  queueOf,
  rangeAt,
  waitForTurn,
  withSession,
} from "./queue.js";

/**
 * Waits for a lock and takes it. As in etcd, a session that has the lock gets it again at once, and one that is in the queue
 * keeps its place. A client that cancels before it has the lock leaves the queue.
 */
export async function lock(
  client: Client,
  { name, lease }: LockRequest,
  router: Pick<Router, "shardsOf">,
): Promise<Init<LockResponse>> {
  const queue = queueOf(name);
  const { key, own, owner, header, isNew } = await withSession(client, lease, (session) =>
    enterQueue(client, queue, session, router),
  );
  try {
    // A client that has gone only leaves a place that this call has taken.
    if (isNew) client.check();
    if (owner?.createRevision === own) return { header, key };
    await waitForTurn(client, queue, own);
    const held = await client.range({ key });
    client.check();
    if (held.kvs.length > 0) return { header: held.header, key };
  } catch (reason) {
    // If the deletion fails, too, the key ends with the lease.
    await client.delete(key).catch(() => undefined);
    throw reason;
  }
  throw new StatusError(Code.UNKNOWN, "mutex: session is expired");
}

/** Releases a lock, or a place in the queue. */
export async function unlock(client: Client, { key }: UnlockRequest): Promise<Init<UnlockResponse>> {
  const { header } = await client.delete(key);
  return { header };
}

interface Place {
  /** The session's key. */
  readonly key: Uint8Array;
  /** Create revision of the session's key. */
  readonly own: number;
  readonly owner: KeyValue | undefined;
  /** The header of the response with the lock's owner. */
  readonly header: ResponseHeader | undefined;
  /** True when the session was not in the queue before. */
  readonly isNew: boolean;
}

/** Enters the queue in one transaction, with a second read when the keys of the lock are on several shards. */
async function enterQueue(
  client: Client,
  queue: Queue,
  lease: bigint,
  router: Pick<Router, "shardsOf">,
): Promise<Place> {
  const key = keyIn(queue, lease);
  const spread = router.shardsOf(queue.key, queue.rangeEnd).length > 1;
  const readFirst = spread ? [] : [{ kind: "range", request: firstOf(queue) } as const];
  const { header, succeeded, responses } = await client.txn({
    compare: [createdAt(key, 0)],
    success: [{ kind: "put", request: { key, lease } }, ...readFirst],
    failure: [{ kind: "range", request: { key } }, ...readFirst],
  });
  const [before] = succeeded ? [] : rangeAt(responses, 0).kvs;
  const own = before?.createRevision ?? header.revision;
  const first = spread ? await client.range(firstOf(queue)) : { header, kvs: rangeAt(responses, 1).kvs };
  return { key, own, owner: first.kvs[0], header: first.header, isNew: succeeded };
}
