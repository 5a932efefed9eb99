import { mayRead } from "../../auth/permission.js";
import type { Router } from "../../routing/router.js";
import type { Call } from "../../rpc/call.js";
import { problemOf } from "../../shard/access.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import type { WatchCreateRequest } from "../../wire/messages.js";
import { visible } from "../kv/keyspace.js";

const FIRST = Uint8Array.of(0);

/**
 * Why a client may not watch what it wants to, if so: every shard that can hold a key of the range is asked, as the
 * client, whether it may read it. A shard that cannot be asked does not hold up a watch that another one has let
 * in; where there is none, the answer is that shard's failure.
 */
export async function admission(
  shards: readonly Shard[],
  router: Router,
  call: Call,
  request: WatchCreateRequest,
): Promise<StatusError | undefined> {
  const key = request.key.length === 0 ? FIRST : request.key;
  const extent = visible({ key, rangeEnd: request.rangeEnd });
  const concerned = extent === undefined ? [] : shardsOf(router, extent);
  // A watch that sees nothing is judged all the same.
  const asked = concerned.length === 0 ? [0] : concerned;
  const outcomes = await Promise.allSettled(
    asked.map((shard) =>
      mayRead(shards[shard]!, { caller: call.caller }, extent ?? { key, rangeEnd: request.rangeEnd }),
    ),
  );
  const errors = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [StatusError.from(outcome.reason)] : [],
  );
  const refusal = errors.find((error) => reasonOf(error) !== undefined);
  return refusal ?? (errors.length === asked.length ? errors[0] : undefined);
}

function shardsOf(
  router: Router,
  { key, rangeEnd }: { readonly key: Uint8Array; readonly rangeEnd: Uint8Array },
): readonly number[] {
  return rangeEnd.length === 0 ? [router.shardOf(key)] : router.shardsOf(key, rangeEnd);
}

/** How a refused watch tells the reason, in etcd's words; undefined for what is no refusal. */
export function reasonOf(error: StatusError): string | undefined {
  const problem = problemOf(error.message);
  if (problem === "token") return wrapped("Unauthenticated", etcd.invalidAuthToken());
  if (problem === "stale") return wrapped("InvalidArgument", etcd.authOldRevision());
  if (problem === "missing") return wrapped("InvalidArgument", etcd.userEmpty());
  return error.code === Code.PERMISSION_DENIED
    ? wrapped("PermissionDenied", etcd.permissionDenied())
    : undefined;
}

/** As Go prints a gRPC error. */
function wrapped(code: string, { message }: StatusError): string {
  return `rpc error: code = ${code} desc = ${message}`;
}
