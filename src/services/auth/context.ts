import type { Authenticator } from "../../auth/authenticator.js";
import type { ProxyCaller } from "../../auth/proxyCaller.js";
import type { Call } from "../../rpc/call.js";
import { describeShard } from "../../shard/name.js";
import type { CallOptions, Shard } from "../../shard/shard.js";
import type { ShardSet } from "../../shard/shardSet.js";
import { Code, type StatusError } from "../../status/error.js";
import type { Timeline } from "../../timeline/view.js";
import type { Identity } from "../identity.js";
import type { AdminLock } from "./adminLock.js";

/** Logs clients in, and knows the proxy's own users. */
export interface AuthAccess {
  readonly authenticator: Authenticator;
  readonly own: ProxyCaller;
}

export interface AuthDeps {
  /** Guarded. */
  readonly shards: ShardSet;
  /** Returns the timeline host of the moment. */
  readonly currentHost: () => Shard;
  readonly timeline: Pick<Timeline, "head" | "refresh" | "beginWrite">;
  readonly identity: Pick<Identity, "header">;
  /** The key that all writes compare: the store's mark. Undefined if the store has none. */
  readonly genKey: Uint8Array | undefined;
  /** Undefined where the proxy has no user. */
  readonly access: AuthAccess | undefined;
}

export interface AuthContext extends AuthDeps {
  readonly lock: AdminLock;
}

/** Options of a query in the client's name, with the client's deadline. */
export function queryOptions(call: Call): CallOptions {
  return { idempotent: true, origin: call, caller: call.caller, deadline: call.deadline };
}

/**
 * Options of a change in the client's name. Not with the client's deadline or cancellation, which could leave the change
 * done on some shards only. Without `deadline` the shard's timeout applies.
 */
export function changeOptions(call: Call, deadline?: number): CallOptions {
  return { idempotent: false, origin: call, caller: call.caller, deadline };
}

/** A failed call to a shard. */
export interface Failure {
  readonly shard: Shard;
  readonly error: StatusError;
}

/** A failure for an error text. The shard's name is in it once. */
export function describeFailure({ shard, error }: Failure): string {
  return `${describeShard(shard)}: ${error.message.replace(`${describeShard(shard)}: `, "")}`;
}

/** True for an error that etcd itself returned. After other errors, the request may or may not have taken effect. */
export function isEtcdError(error: StatusError): boolean {
  return error.code !== Code.UNAVAILABLE && error.code !== Code.DEADLINE_EXCEEDED;
}
