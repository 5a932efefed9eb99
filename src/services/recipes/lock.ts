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
  rangeOf,
  waitForTurn,
  withSession,
} from "./queue.js";

/**
 * Waits for a lock and takes it. As in etcd a session that has it gets it again at once, and one that stands in line
 * already keeps its place. Whose client goes away before it has the lock leaves the line.
 */
export async function lock(
  client: Client,
  { name, lease }: LockRequest,
  router: Pick<Router, "shardsOf">,
): Promise<Init<LockResponse>> {
  const queue = queueOf(name);
  const { key, own, owner, header, isNew } = await withSession(client, lease, (session) =>
    standInLine(client, queue, session, router),
  );
  try {
    // A client that has gone keeps what it had before this call.
    if (isNew) client.check();
    if (owner?.createRevision === own) return { header, key };
    await waitForTurn(client, queue, own);
    const held = await client.range({ key });
    client.check();
    if (held.kvs.length > 0) return { header: held.header, key };
  } catch (reason) {
    // If that fails too, the lease ends it.
    await client.delete(key).catch(() => undefined);
    throw reason;
  }
  throw new StatusError(Code.UNKNOWN, "mutex: session is expired");
}

/** Gives a lock back, or a place in the line. */
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
  /** Of the answer that says who owns the lock. */
  readonly header: ResponseHeader | undefined;
  /** True when the session did not stand in line before. */
  readonly isNew: boolean;
}

/** One transaction, and a read besides it when the keys of the lock are on several shards. */
async function standInLine(
  client: Client,
  queue: Queue,
  lease: bigint,
  router: Pick<Router, "shardsOf">,
): Promise<Place> {
  const key = keyIn(queue, lease);
  const spread = router.shardsOf(queue.key, queue.rangeEnd).length > 1;
  const look = spread ? [] : [{ kind: "range", request: firstOf(queue) } as const];
  const { header, succeeded, responses } = await client.txn({
    compare: [createdAt(key, 0)],
    success: [{ kind: "put", request: { key, lease } }, ...look],
    failure: [{ kind: "range", request: { key } }, ...look],
  });
  const own = succeeded ? header!.revision : rangeOf(responses[0]).kvs[0].createRevision;
  const first = spread ? await client.range(firstOf(queue)) : { header, kvs: rangeOf(responses[1]).kvs };
  return { key, own, owner: first.kvs[0], header: first.header, isNew: succeeded };
}
