import type { Call } from "../../rpc/call.js";
import { UnsentError } from "../../shard/errors.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import {
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthUserAddRequest,
  AuthUserDeleteRequest,
  AuthUserGrantRoleRequest,
  AuthUserRevokeRoleRequest,
} from "../../wire/messages.js";
import { Auth, KV } from "../../wire/paths.js";
import { PROBE } from "../../wire/probe.js";
import { type AuthContext, inTheNameOf, isEtcds, tale } from "./context.js";

const REPAIR = "`braid auth repair` shows how the shards differ, and mends it";

/**
 * Changes users or roles on all shards, as the client. All of them have to be there, or nothing is begun; the first
 * shard decides whether the change is allowed; then the others follow. Where one does not, what can be taken back on the
 * others is taken back, and the error tells where the change took effect. Nothing is begun when `admitted` rejects.
 */
export async function change(
  context: AuthContext,
  call: Call,
  path: string,
  request: Uint8Array,
  admitted?: Promise<void>,
): Promise<Uint8Array> {
  const { shards, lock, identity, timeline } = context;
  const run = async (deadline: number) => {
    await allThere(shards);
    const options = inTheNameOf(call, deadline);
    const [first, ...others] = shards;
    await first!.call(path, request, options).catch((reason) => {
      throw unclear(shards, StatusError.from(reason));
    });
    const outcomes = await Promise.allSettled(others.map((shard) => shard.call(path, request, options)));
    const failed = outcomes.flatMap((outcome, i) =>
      outcome.status === "rejected" ? [{ shard: others[i]!, error: StatusError.from(outcome.reason) }] : [],
    );
    if (failed.length === 0) return;
    const done = shards.filter((shard) => failed.every((failure) => failure.shard !== shard));
    const left = await takeBack(call, done, path, request);
    throw incomplete(failed, done, left);
  };
  await lock.run(call, run, admitted);
  return identity.header(timeline.head);
}

/** Rejects unless every shard has a quorum: most of what could go wrong half way does so before anything is done. */
export async function allThere(shards: readonly Shard[]): Promise<void> {
  await Promise.all(shards.map((shard) => shard.call(KV.Range, PROBE, { idempotent: true })));
}

/** Resolves to the shards on which the change is still in effect. */
async function takeBack(
  call: Call,
  done: readonly Shard[],
  path: string,
  request: Uint8Array,
): Promise<readonly Shard[]> {
  const reverse = reverseOf(path, request);
  if (reverse === undefined) return done;
  const options = inTheNameOf(call);
  const outcomes = await Promise.allSettled(
    done.map((shard) => shard.call(reverse.path, reverse.request, options)),
  );
  return done.filter((_, i) => outcomes[i]!.status === "rejected");
}

/** What takes a change back that was news to the shard, as far as a shard tells that it was. */
function reverseOf(path: string, request: Uint8Array): { path: string; request: Uint8Array } | undefined {
  switch (path) {
    case Auth.UserAdd: {
      const { name } = AuthUserAddRequest.decode(request);
      return { path: Auth.UserDelete, request: AuthUserDeleteRequest.encode({ name }) };
    }
    case Auth.RoleAdd: {
      const { name } = AuthRoleAddRequest.decode(request);
      return { path: Auth.RoleDelete, request: AuthRoleDeleteRequest.encode({ role: name }) };
    }
    case Auth.UserRevokeRole: {
      const { name, role } = AuthUserRevokeRoleRequest.decode(request);
      return { path: Auth.UserGrantRole, request: AuthUserGrantRoleRequest.encode({ user: name, role }) };
    }
    default:
      return undefined;
  }
}

/**
 * The error of a change that failed with `error` on the first shard, the only one asked so far. If that leaves open
 * whether it took effect there, the shards may differ from now on.
 */
export function unclear(shards: readonly Shard[], error: StatusError): StatusError {
  if (isEtcds(error) || error instanceof UnsentError || shards.length === 1) return error;
  const text = `etcd-braid: carried out nowhere, or only on ${tale(shards[0]!, error)}; ${REPAIR}`;
  return new StatusError(error.code, text, { cause: error });
}

export interface Failure {
  readonly shard: Shard;
  readonly error: StatusError;
}

/** The error of a change that some shards have not followed; its code is that of the first failure. */
export function incomplete(
  failed: readonly Failure[],
  done: readonly Shard[],
  left: readonly Shard[],
): StatusError {
  const tales = failed.map(({ shard, error }) => tale(shard, error)).join("; ");
  const there = left.map(describeShard).join(", ");
  const undone = done.filter((shard) => !left.includes(shard)).map(describeShard);
  const state = [
    ...(left.length > 0 ? [`carried out on ${there}`] : []),
    ...(undone.length > 0 ? [`taken back on ${undone.join(", ")}`] : []),
  ].join(", ");
  const code = failed[0]?.error.code ?? Code.UNAVAILABLE;
  // A shard that refuses what others take differs from them already.
  const alike = left.length === 0 && failed.every(({ error }) => error instanceof UnsentError);
  const advice = alike ? "" : `; ${REPAIR}`;
  return new StatusError(code, `etcd-braid: not carried out on all shards: ${tales}; ${state}${advice}`);
}
