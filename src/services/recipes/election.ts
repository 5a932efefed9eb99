import { Code, StatusError } from "../../status/error.js";
import {
  type CampaignRequest,
  type CampaignResponse,
  EventType,
  type Init,
  type LeaderKey,
  type LeaderRequest,
  type LeaderResponse,
  type ProclaimRequest,
  type ProclaimResponse,
  type ResignRequest,
  type ResignResponse,
  type ResponseHeader,
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
 * Campaigns for leadership and waits for it. As in etcd, a session that campaigns already keeps its place and gets the new
 * value, and a client that cancels withdraws. Unlike in etcd, a session that has expired meanwhile gets an error.
 */
export async function campaign(client: Client, request: CampaignRequest): Promise<Init<CampaignResponse>> {
  const { name, value } = request;
  const queue = queueOf(name);
  const { lease, key, header, succeeded, responses } = await withSession(
    client,
    request.lease,
    async (lease) => {
      const key = keyIn(queue, lease);
      const answer = await client.txn({
        compare: [createdAt(key, 0)],
        success: [{ kind: "put", request: { key, value, lease } }],
        failure: [{ kind: "range", request: { key } }],
      });
      return { lease, key, ...answer };
    },
  );
  const before = succeeded ? undefined : rangeAt(responses, 0).kvs[0];
  const rev = before?.createRevision ?? header.revision;
  const leader = { name, key, rev, lease };
  if (before !== undefined && Buffer.compare(before.value, value) !== 0) {
    try {
      await announce(client, leader, value);
    } catch (reason) {
      await withdraw(client, leader).catch(() => undefined);
      throw reason;
    }
  }
  try {
    await waitForTurn(client, queue, rev);
    const { kvs } = await client.range({ key });
    client.check();
    if (kvs[0]?.createRevision !== rev) throw notLeader();
  } catch (reason) {
    // If the withdrawal fails, too, the key ends with the lease.
    if (client.isGone) await withdraw(client, leader).catch(() => undefined);
    throw reason;
  }
  return { header, leader };
}

/** Changes the leader's value. */
export async function proclaim(client: Client, request: ProclaimRequest): Promise<Init<ProclaimResponse>> {
  const { leader, value } = request;
  if (leader === undefined) throw noLeaderKey();
  const header = await withSession(client, leader.lease, (lease) =>
    announce(client, { ...leader, lease }, value),
  );
  return { header };
}

/** Gives up leadership, or the place in the queue. Also succeeds without either. */
export async function resign(client: Client, { leader }: ResignRequest): Promise<Init<ResignResponse>> {
  if (leader === undefined) throw noLeaderKey();
  return { header: await withdraw(client, leader) };
}

/** The current leader. Rejects when there is none. */
export async function leaderNow(client: Client, { name }: LeaderRequest): Promise<Init<LeaderResponse>> {
  const { header, kvs } = await client.range(firstOf(queueOf(name)));
  if (kvs.length === 0) throw new StatusError(Code.UNKNOWN, "election: no leader");
  return { header, kv: kvs[0] };
}

/**
 * Yields the leader, each new leader, and each proclaimed value. As in etcd, it may skip leaders, but not the newest one. Ends
 * only with an error. After a compaction, it continues with a read.
 */
export async function* observe(
  client: Client,
  { name }: LeaderRequest,
): AsyncGenerator<Init<LeaderResponse>, never> {
  const queue = queueOf(name);
  /** Mod revision of the leader's key that was yielded last. */
  let yielded = 0;
  for (;;) {
    const leader = await nextLeader(client, queue);
    if (leader === undefined) continue;
    const { header, kv } = leader;
    // A leader that was in the queue before its predecessor proclaimed has a lower revision than that.
    if (kv.modRevision !== yielded) yield leader;
    yielded = kv.modRevision;
    const watch = client.watch({ key: kv.key, startRevision: header.revision + 1 });
    following: for await (const { header, events } of watch) {
      for (const { type, kv } of events) {
        if (type === EventType.DELETE || kv === undefined) break following;
        yielded = kv.modRevision;
        yield { header, kv };
      }
    }
  }
}

/** The leader, or the next one where there is none. Resolves to undefined when the caller has to ask again. */
async function nextLeader(client: Client, queue: Queue) {
  const { header, kvs } = await client.range(firstOf(queue));
  const [current] = kvs;
  if (current !== undefined) return { header: header, kv: current };
  for await (const { header: newest, events } of client.watch({
    ...queue,
    startRevision: header.revision + 1,
  })) {
    const kv = events.find(({ type }) => type === EventType.PUT)?.kv;
    // Later events need the first event's revision. The header's may be higher.
    if (kv !== undefined) return { header: { ...newest, revision: kv.modRevision }, kv };
  }
  return undefined;
}

async function announce(client: Client, leader: LeaderKey, value: Uint8Array): Promise<ResponseHeader> {
  const { key, rev, lease } = leader;
  const { header, succeeded } = await client.txn({
    compare: [createdAt(key, rev)],
    success: [{ kind: "put", request: { key, value, lease } }],
  });
  if (!succeeded) throw notLeader();
  return header;
}

async function withdraw(client: Client, { key, rev }: LeaderKey): Promise<ResponseHeader> {
  const { header } = await client.txn({
    compare: [createdAt(key, rev)],
    success: [{ kind: "deleteRange", request: { key } }],
  });
  return header;
}

function notLeader(): StatusError {
  return new StatusError(Code.UNKNOWN, "election: not leader");
}

function noLeaderKey(): StatusError {
  return new StatusError(Code.UNKNOWN, '"leader" field must be provided');
}
