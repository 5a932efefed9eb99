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
  rangeOf,
  waitForTurn,
  withSession,
} from "./queue.js";

/**
 * Stands for leadership and waits for it. As in etcd a session that stands already keeps its place, with the new value,
 * and one whose client goes away stands no more. Unlike there, one that has expired meanwhile is not told that it leads.
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
  const before = succeeded ? undefined : rangeOf(responses[0]).kvs[0];
  const rev = before?.createRevision ?? header!.revision;
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
    // If that fails too, the lease ends it.
    if (client.isGone) await withdraw(client, leader).catch(() => undefined);
    throw reason;
  }
  return { header, leader };
}

/** Gives the leader another value. */
export async function proclaim(client: Client, request: ProclaimRequest): Promise<Init<ProclaimResponse>> {
  const { leader, value } = request;
  if (leader === undefined) throw noLeaderKey();
  const header = await withSession(client, leader.lease, (lease) =>
    announce(client, { ...leader, lease }, value),
  );
  return { header };
}

/** Gives leadership up, or the place in the line. A success also for who has neither (any more). */
export async function resign(client: Client, { leader }: ResignRequest): Promise<Init<ResignResponse>> {
  if (leader === undefined) throw noLeaderKey();
  return { header: await withdraw(client, leader) };
}

/** Who leads now. */
export async function leaderNow(client: Client, { name }: LeaderRequest): Promise<Init<LeaderResponse>> {
  const { header, kvs } = await client.range(firstOf(queueOf(name)));
  if (kvs.length === 0) throw new StatusError(Code.UNKNOWN, "election: no leader");
  return { header, kv: kvs[0] };
}

/**
 * Who leads, now and whenever that changes, and what they proclaim; as in etcd not every leader that there was, but the
 * newest for sure. Ends with an error only. What `watch` has lost to a compaction is read instead.
 */
export async function* observe(
  client: Client,
  { name }: LeaderRequest,
): AsyncGenerator<Init<LeaderResponse>, never> {
  const queue = queueOf(name);
  let told = 0;
  for (;;) {
    const leader = await nextLeader(client, queue);
    if (leader === undefined) continue;
    const { header, kv } = leader;
    // Whoever stood in line since before the last leader's proclamation leads with an older revision than was told.
    if (kv.modRevision !== told) yield leader;
    told = kv.modRevision;
    const watch = client.watch({ key: kv.key, startRevision: header.revision + 1 });
    following: for await (const { header, events } of watch) {
      for (const { type, kv } of events) {
        if (type === EventType.DELETE) break following;
        told = kv!.modRevision;
        yield { header, kv };
      }
    }
  }
}

/** Who leads; where nobody does, who is first to stand. Undefined when that can only be found by asking again. */
async function nextLeader(client: Client, queue: Queue) {
  const { header, kvs } = await client.range(firstOf(queue));
  if (kvs.length > 0) return { header: header!, kv: kvs[0] };
  for await (const { header: newest, events } of client.watch({
    ...queue,
    startRevision: header!.revision + 1,
  })) {
    const kv = events.find(({ type }) => type === EventType.PUT)?.kv;
    // The header may be newer than the first event.
    if (kv !== undefined) return { header: { ...newest!, revision: kv.modRevision }, kv };
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
  return header!;
}

async function withdraw(client: Client, { key, rev }: LeaderKey): Promise<ResponseHeader> {
  const { header } = await client.txn({
    compare: [createdAt(key, rev)],
    success: [{ kind: "deleteRange", request: { key } }],
  });
  return header!;
}

function notLeader(): StatusError {
  return new StatusError(Code.UNKNOWN, "election: not leader");
}

function noLeaderKey(): StatusError {
  return new StatusError(Code.UNKNOWN, '"leader" field must be provided');
}
