import type { Authenticator } from "../../auth/authenticator.js";
import type { OwnCaller } from "../../auth/own.js";
import type { Call } from "../../rpc/call.js";
import { describeShard } from "../../shard/name.js";
import type { CallOptions, Shard } from "../../shard/shard.js";
import { Code, type StatusError } from "../../status/error.js";
import type { Timeline } from "../../timeline/view.js";
import type { Identity } from "../identity.js";
import type { AdminLock } from "./lock.js";

/** How clients are logged in, and who the proxy itself is; both undefined where it has no user. */
export interface AuthAccess {
  readonly authenticator: Authenticator;
  readonly own: OwnCaller;
}

export interface AuthDeps {
  /** In configured order, guarded. */
  readonly shards: readonly Shard[];
  /** The timeline host. */
  readonly host: Shard;
  readonly timeline: Pick<Timeline, "head" | "refresh" | "beginWrite">;
  readonly identity: Pick<Identity, "header">;
  readonly access: AuthAccess | undefined;
}

export interface AuthContext extends AuthDeps {
  readonly lock: AdminLock;
}

/** A question to one shard, in the client's name and time. */
export function asClient(call: Call): CallOptions {
  return { idempotent: true, origin: call, caller: call.caller, deadline: call.deadline };
}

/**
 * A change on one shard, in the client's name but not in its time: a client that gives up must not leave it done on some
 * shards alone. Without `deadline` the shard's own time counts.
 */
export function inTheNameOf(call: Call, deadline?: number): CallOptions {
  return { idempotent: false, origin: call, caller: call.caller, deadline };
}

/** What went wrong on a shard, with its name once. */
export function tale(shard: Shard, error: Error): string {
  return `${describeShard(shard)}: ${error.message.replace(`${describeShard(shard)}: `, "")}`;
}

/** True for an etcd's own answer; every other error leaves open what the shard would say, or has done. */
export function isEtcds(error: StatusError): boolean {
  return error.code !== Code.UNAVAILABLE && error.code !== Code.DEADLINE_EXCEEDED;
}
