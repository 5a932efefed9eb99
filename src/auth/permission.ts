import type { Call } from "../server/transport.js";
import type { Caller } from "../shard/caller.js";
import type { CallOptions, Shard } from "../shard/shard.js";
import {
  AuthenticateRequest,
  type Compare,
  CompareResult,
  CompareTarget,
  type Init,
  RangeRequest,
  type RequestOp,
  TxnRequest,
} from "../wire/messages.js";
import { Auth, KV } from "../wire/paths.js";

/*
 * Questions to shards that do nothing but have the shard judge, by its own rules, whether a client may do something
 * that the proxy is about to do in its own name or to answer by itself. All of them reject with the shard's error, and are
 * only asked where calls have a caller.
 */

/** Operations of one transaction, etcd's default limit. */
const MAX_OPS = 128;
const USER_LIST = AuthenticateRequest.encode({});

interface Asked {
  readonly caller?: Caller | undefined;
  readonly deadline?: number;
}

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
 * Whether the client may carry out a transaction of these compares and operations: etcd judges those on the path that is
 * not taken as well, so they are put there.
 */
export async function mayCarryOut(
  shard: Shard,
  asked: Asked,
  compares: readonly Pick<Compare, "key" | "rangeEnd">[],
  ops: readonly Init<RequestOp>[],
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
  for (let at = 0; at < ops.length; at += MAX_OPS) {
    requests.push(TxnRequest.encode({ failure: ops.slice(at, at + MAX_OPS) }));
  }
  if (requests.length === 0) requests.push(TxnRequest.encode({}));
  await Promise.all(requests.map((request) => shard.call(KV.Txn, request, options(asked))));
}

/** Whether the client has the role root on all shards. */
export async function mayAdminister(shards: readonly Shard[], call: Call): Promise<void> {
  if (call.caller === undefined) return;
  await Promise.all(shards.map((shard) => shard.call(Auth.UserList, USER_LIST, options(call))));
}
