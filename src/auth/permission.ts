import type { Call } from "../rpc/call.js";
import { isDenied } from "../shard/access.js";
import type { Caller } from "../shard/caller.js";
import type { CallOptions, Shard } from "../shard/shard.js";
import { StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
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
 * Questions to shards that do nothing but have the shard judge, by its own rules, whether a client may do something
 * that the proxy is about to do in its own name or to answer by itself. All of them reject with the shard's error, and are
 * only asked where calls have a caller.
 */

/** Operations of one transaction, etcd's default limit. */
const MAX_OPS = 128;
const USER_LIST = AuthenticateRequest.encode({});
const FUTURE_HASH = HashKVRequest.encode({ revision: 2 ** 63 });

interface Asked {
  readonly caller?: Caller | undefined;
  readonly deadline?: number | undefined;
}

type Op = Init<RequestOp>;

const options = ({ caller, deadline }: Asked): CallOptions => ({
  idempotent: true,
  caller,
  deadline: Number.isFinite(deadline) ? deadline : undefined,
});

/** Whether the client may read all keys of a range: what etcd asks before it creates a watch. */
export async function mayRead(
  shard: Shard,
  asked: Asked,
  extent: { readonly key: Uint8Array; readonly rangeEnd: Uint8Array },
): Promise<void> {
  const { key, rangeEnd } = extent;
  const request = RangeRequest.encode({ key, rangeEnd, limit: 1, keysOnly: true, serializable: true });
  await shard.call(KV.Range, request, { ...options(asked), mayLag: true });
}

/** Whether the client may write all of these keys. */
export async function mayWrite(shard: Shard, asked: Asked, keys: readonly Uint8Array[]): Promise<void> {
  const puts = keys.map((key) => ({ kind: "put" as const, request: { key } }));
  await mayCarryOut(shard, asked, [], puts);
}

/**
 * Whether the client may carry out a transaction of these compares and branches: etcd judges the operations on the path
 * that is not taken as well, so they are put there. Of values nothing is sent.
 */
export async function mayCarryOut(
  shard: Shard,
  asked: Asked,
  compares: readonly Pick<Compare, "key" | "rangeEnd">[],
  ...branches: readonly (readonly Op[])[]
): Promise<void> {
  // No key has version -1.
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
    const ops = branch.map(extentsOf);
    for (let at = 0; at < ops.length; at += MAX_OPS) {
      requests.push(TxnRequest.encode({ failure: ops.slice(at, at + MAX_OPS) }));
    }
  }
  if (requests.length === 0) requests.push(TxnRequest.encode({}));
  await Promise.all(requests.map((request) => shard.call(KV.Txn, request, options(asked))));
}

/** What etcd looks at when it judges an operation: keys, ranges and leases, but no values and revisions. */
function extentsOf(op: Op): Op {
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
      success: success?.map(extentsOf),
      failure: failure?.map(extentsOf),
    },
  };
}

/** Whether the client has the role root on these shards. */
export async function mayAdminister(shards: readonly Shard[], call: Call): Promise<void> {
  if (call.caller === undefined) return;
  await Promise.all(shards.map((shard) => shard.call(Auth.UserList, USER_LIST, options(call))));
}

/**
 * Whether the client may defragment, hash and copy the shards. Asked with a hash that no etcd computes, because etcds
 * before 3.6 have words of their own for this refusal.
 */
export async function mayMaintain(shards: readonly Shard[], call: Call): Promise<void> {
  await askAll(shards, call, Maintenance.HashKV, FUTURE_HASH, [etcd.futureRevision()]);
}

/** Whether the client may move the leaders of the shards. Asked with a target that is no member. */
export async function mayMoveLeaders(shards: readonly Shard[], call: Call): Promise<void> {
  const passes = [etcd.badLeaderTransferee(), etcd.notLeader()];
  await askAll(shards, call, Maintenance.MoveLeader, EMPTY, passes);
}

/**
 * Asks all shards something that cannot be carried out, which `passes` say of a client that they would let. Rejects with a
 * refusal if there is any, and else with a failure when no shard lets the client.
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
