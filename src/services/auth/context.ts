import type { Authenticator } from "../../auth/authenticator.js";
import type { OwnCaller } from "../../auth/own.js";
import type { Call } from "../../server/transport.js";
import type { CallOptions, Shard } from "../../shard/shard.js";
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
  readonly timeline: Pick<Timeline, "head">;
  readonly identity: Pick<Identity, "header">;
  readonly access: AuthAccess | undefined;
}

export interface AuthContext extends AuthDeps {
  readonly lock: AdminLock;
}

/** A client's call to one shard. */
export function asClient(call: Call, idempotent: boolean, deadline?: number): CallOptions {
  const own = Number.isFinite(call.deadline) ? call.deadline : undefined;
  const soonest = deadline === undefined ? own : Math.min(deadline, own ?? deadline);
  return { idempotent, origin: call, caller: call.caller, deadline: soonest };
}

/** `shard "a"`, as messages name it. */
export const named = (shard: Shard): string => `shard "${shard.name}"`;

/** What went wrong on a shard, with its name once. */
export function tale(shard: Shard, error: Error): string {
  return `${named(shard)}: ${error.message.replace(`${named(shard)}: `, "")}`;
}
