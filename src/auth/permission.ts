import type { Call } from "../rpc/call.js";
import { isDenied } from "../shard/access.js";
import type { Caller } from "../shard/caller.js";
import type { CallOptions, Shard } from "../shard/shard.js";
import { StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import type { KeyRange } from "../wire/keyRange.js";
import {
  AuthenticateRequest,
  type Compare,
  CompareResult,
  CompareTarget,
  EMPTY,
  HashKVRequest,
  type Init,
  RangeRequest,
  type RequestOp,
  TxnRequest,
} from "../wire/messages.js";
import { Auth, KV, Maintenance } from "../wire/paths.js";

/*
 * Requests that only have a shard check, by its own rules, whether a client may do what the proxy is about to do in its own
 * name, or to answer itself. They change nothing, and reject with the shard's error. They are sent only where calls have
 * a caller.
 */

/** Most operations of one transaction: etcd's default limit. */
const MAX_OPS = 128;
const USER_LIST = AuthenticateRequest.encode({});
const FUTURE_HASH = HashKVRequest.encode({ revision: 2 ** 63 });

/** The client to check. */
interface Client {
  readonly caller?: Caller | undefined;
  readonly deadline?: number | undefined;
}

type Op = Init<RequestOp>;

const options = ({ caller, deadline }: Client): CallOptions => ({
  idempotent: true,
  caller,
  deadline: Number.isFinite(deadline) ? deadline : undefined,
});

/** Checks that the client may read all keys of a range. etcd checks the same before it creates a watch. */
export async function mayRead(shard: Shard, client: Client, { key, rangeEnd }: KeyRange): Promise<void> {
  const request = RangeRequest.encode({ key, rangeEnd, limit: 1, keysOnly: true, serializable: true });
  await shard.call(KV.Range, request, { ...options(client), mayLag: true });
}

/** Checks that the client may write all of these keys. */
export async function mayWrite(shard: Shard, client: Client, keys: readonly Uint8Array[]): Promise<void> {
  const puts = keys.map((key) => ({ kind: "put" as const, request: { key } }));
  await mayCarryOut(shard, client, [], puts);
}

/**
 * Checks that the client may make a transaction of these compares and branches. etcd also checks the operations of the
 * branch that is not taken, so the operations are put there. Values are not sent.
 */
export async function mayCarryOut(
  shard: Shard,
  client: Client,
  compares: readonly Pick<Compare, "key" | "rangeEnd">[],
  ...branches: readonly (readonly Op[])[]
): Promise<void> {
  // No key has version -1, so the branch with the operations is never taken.
  const compare = compares.map(({ key, rangeEnd }) => ({
    key,
    rangeEnd,
    target: CompareTarget.VERSION,
    result: CompareResult.EQUAL,
    version: -1,
  }));
  const requests: Uint8Array[] = [];
  if (compare.length > 0) requests.push(TxnRequest.encode({ compare }));
  for (const branch of branches) {
    const ops = branch.map(withoutValues);
    for (let at = 0; at < ops.length; at += MAX_OPS) {
      requests.push(TxnRequest.encode({ failure: ops.slice(at, at + MAX_OPS) }));
    }
  }
  if (requests.length === 0) requests.push(TxnRequest.encode({}));
  await Promise.all(requests.map((request) => shard.call(KV.Txn, request, options(client))));
}

/** An operation with what etcd checks: keys, ranges and leases, but not values and revisions. */
function withoutValues(op: Op): Op {
  if (op.kind === "range") {
    const { key, rangeEnd } = op.request ?? {};
    return { kind: "range", request: { key, rangeEnd } };
  }
  if (op.kind === "put") return { kind: "put", request: { ...op.request, value: EMPTY } };
  if (op.kind !== "txn") return op;
  const { compare, success, failure } = op.request ?? {};
  return {
    kind: "txn",
    request: {
      compare: compare?.map(({ key, rangeEnd }) => ({ key, rangeEnd })),
      success: success?.map(withoutValues),
      failure: failure?.map(withoutValues),
    },
  };
}

/** Checks that the client has the role root on these shards. */
export async function mayAdminister(shards: readonly Shard[], call: Call): Promise<void> {
  if (call.caller === undefined) return;
  await Promise.all(shards.map((shard) => shard.call(Auth.UserList, USER_LIST, options(call))));
}

/**
 * Checks that the client may defragment, hash and copy the shards. The request is for a hash at a future revision, which no
 * etcd computes. It has to be a maintenance request, because etcd before 3.6 has other error texts for those.
 */
export async function mayMaintain(shards: readonly Shard[], call: Call): Promise<void> {
  await askAll(shards, call, Maintenance.HashKV, FUTURE_HASH, [etcd.futureRevision()]);
}

/** Checks that the client may move the leaders of the shards, with a target that is no member. */
export async function mayMoveLeaders(shards: readonly Shard[], call: Call): Promise<void> {
  const passes = [etcd.badLeaderTransferee(), etcd.notLeader()];
  await askAll(shards, call, Maintenance.MoveLeader, EMPTY, passes);
}

/**
 * Sends all shards a request that cannot succeed. `passes` are the errors for a client that has permission. Rejects with a
 * refusal if there is one, else with a failure if no shard gives the client permission.
 */
async function askAll(
  shards: readonly Shard[],
  call: Call,
  path: string,
  request: Uint8Array,
  passes: readonly StatusError[],
): Promise<void> {
  if (call.caller === undefined) return;
  const outcomes = await Promise.allSettled(shards.map((shard) => shard.call(path, request, options(call))));
  const errors = outcomes
    .flatMap((outcome) => (outcome.status === "rejected" ? [StatusError.from(outcome.reason)] : []))
    .filter(({ message }) => passes.every((pass) => pass.message !== message));
  const refusal = errors.find(isDenied) ?? (errors.length === shards.length ? errors[0] : undefined);
  if (refusal !== undefined) throw refusal;
}
