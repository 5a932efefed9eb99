import { mayRead } from "../../auth/permission.js";
import type { Locator } from "../../reshard/locator.js";
import type { Call } from "../../rpc/call.js";
import { problemOf } from "../../shard/access.js";
import type { ShardSet } from "../../shard/shardSet.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import type { KeyRange } from "../../wire/keyRange.js";
import type { WatchCreateRequest } from "../../wire/messages.js";
import { visible } from "../kv/keyspace.js";
import { rangeOf } from "./request.js";

/**
 * The shards' reason why a client may not create a watch, or undefined if it may. Every shard that can have a key of the range
 * checks whether the client may read it. A failure of a shard only counts when no other shard lets the client.
 */
export async function permission(
  shards: ShardSet,
  locator: Locator,
  call: Call,
  request: WatchCreateRequest,
): Promise<StatusError | undefined> {
  const range = rangeOf(request);
  const seen = visible(range);
  const concerned = new Set(seen === undefined ? [] : shardsOf(locator, seen));
  // Without any shard, the first one checks the client.
  const asked = concerned.size === 0 ? [shards.first] : [...concerned].map((index) => shards.at(index));
  const outcomes = await Promise.allSettled(
    asked.map((shard) => mayRead(shard, { caller: call.caller }, seen ?? range)),
  );
  const errors = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [StatusError.from(outcome.reason)] : [],
  );
  const refusal = errors.find((error) => reasonOf(error) !== undefined);
  return refusal ?? (errors.length === asked.length ? errors[0] : undefined);
}

const shardsOf = (locator: Locator, { key, rangeEnd }: KeyRange): readonly number[] =>
  rangeEnd.length === 0 ? [locator.shardOf(key)] : locator.shardsOf({ key, end: rangeEnd });

/** The `cancel_reason` of a refused watch, with etcd's texts, or undefined for an error that is no refusal. */
export function reasonOf(error: StatusError): string | undefined {
  const problem = problemOf(error.message);
  if (problem === "token") return wrapped("Unauthenticated", etcd.invalidAuthToken());
  if (problem === "stale") return wrapped("InvalidArgument", etcd.authOldRevision());
  if (problem === "missing") return wrapped("InvalidArgument", etcd.userEmpty());
  return error.code === Code.PERMISSION_DENIED
    ? wrapped("PermissionDenied", etcd.permissionDenied())
    : undefined;
}

/** A gRPC error as Go formats it. */
function wrapped(code: string, { message }: StatusError): string {
  return `rpc error: code = ${code} desc = ${message}`;
}
