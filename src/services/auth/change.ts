import type { Call } from "../../rpc/call.js";
import { UnsentError } from "../../shard/errors.js";
import { describeShard } from "../../shard/name.js";
import type { CallOptions, Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import {
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGrantPermissionRequest,
  AuthUserAddRequest,
  AuthUserDeleteRequest,
  AuthUserGrantRoleRequest,
  AuthUserRevokeRoleRequest,
} from "../../wire/messages.js";
import { Auth, KV } from "../../wire/paths.js";
import { PROBE } from "../../wire/probe.js";
import { type AuthContext, changeOptions, describeFailure, type Failure, isEtcdError } from "./context.js";
import { grantGen } from "./genGrants.js";

const REPAIR = "`braid auth repair` shows how the shards differ, and repairs them with --fix";

/**
 * Changes users or roles on all shards, in the client's name. Nothing is begun unless all shards have a quorum and
 * `admitted` resolves. The first shard decides whether the change is allowed, then the others follow. Where one fails, the
 * change is undone on the others as far as possible, and the error says where it took effect.
 */
export async function change(
  context: AuthContext,
  call: Call,
  path: string,
  request: Uint8Array,
  admitted?: Promise<void>,
): Promise<Uint8Array> {
  const { lock, identity, timeline } = context;
  const carryOut = async (shard: Shard, options: CallOptions) => {
    // Every write needs this permission. Before the change, so that no role can write only in part.
    const { genKey } = context;
    if (path === Auth.RoleGrantPermission && genKey !== undefined) {
      await grantGen(shard, AuthRoleGrantPermissionRequest.decode(request).name, genKey, options);
    }
    await shard.call(path, request, options);
  };
  const run = async (deadline: number) => {
    const shards = context.shards.all();
    await checkQuorums(shards);
    const options = changeOptions(call, deadline);
    const [first, ...others] = shards;
    if (first !== undefined) {
      await carryOut(first, options).catch((reason) => {
        throw uncertain(shards, StatusError.from(reason));
      });
    }
    const failed = await failuresOf(others, (shard) => carryOut(shard, options));
    if (failed.length === 0) return;
    const done = shards.filter((shard) => failed.every((failure) => failure.shard !== shard));
    const left = await undo(call, done, path, request);
    throw incomplete(failed, done, left);
  };
  await lock.run(call, run, admitted);
  return identity.header(timeline.head);
}

/** Rejects unless every shard has a quorum. Finds most failures before anything is changed. */
export async function checkQuorums(shards: readonly Shard[]): Promise<void> {
  await Promise.all(shards.map((shard) => shard.call(KV.Range, PROBE, { idempotent: true })));
}

/** Calls all shards at the same time. Resolves to the failures, in the order of the shards. */
async function failuresOf(
  shards: readonly Shard[],
  call: (shard: Shard) => Promise<unknown>,
): Promise<Failure[]> {
  const outcomes = await Promise.all(
    shards.map((shard) =>
      call(shard).then(
        () => [],
        (reason) => [{ shard, error: StatusError.from(reason) }],
      ),
    ),
  );
  return outcomes.flat();
}

/** Undoes a change. Resolves to the shards on which it is still in effect. */
async function undo(
  call: Call,
  done: readonly Shard[],
  path: string,
  request: Uint8Array,
): Promise<readonly Shard[]> {
  const reverse = reverseOf(path, request);
  if (reverse === undefined) return done;
  const options = changeOptions(call);
  const failed = await failuresOf(done, (shard) => shard.call(reverse.path, reverse.request, options));
  return failed.map(({ shard }) => shard);
}

/** The request that undoes a change, for changes that succeed only if they changed something. */
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
 * The error of a change that failed with `error` on the first shard, before the others were called. If the change may have
 * taken effect there, the error says so, because the shards may differ then.
 */
export function uncertain(shards: readonly Shard[], error: StatusError): StatusError {
  const [first, ...others] = shards;
  if (first === undefined || others.length === 0 || isEtcdError(error) || error instanceof UnsentError)
    return error;
  const text = `etcd-braid: carried out nowhere, or only on ${describeFailure({ shard: first, error })}; ${REPAIR}`;
  return new StatusError(error.code, text, { cause: error });
}

/**
 * The error of a change that failed on some shards, with the code of the first failure. The change was made on the shards
 * `done`, and is still in effect on the shards `left`.
 */
export function incomplete(
  failed: readonly Failure[],
  done: readonly Shard[],
  left: readonly Shard[],
): StatusError {
  const failures = failed.map(describeFailure).join("; ");
  const there = left.map(describeShard).join(", ");
  const undone = done.filter((shard) => !left.includes(shard)).map(describeShard);
  const state = [
    ...(left.length > 0 ? [`carried out on ${there}`] : []),
    ...(undone.length > 0 ? [`undone on ${undone.join(", ")}`] : []),
  ].join(", ");
  const code = failed[0]?.error.code ?? Code.UNAVAILABLE;
  // An etcd's error means that the shard already differed from the others, so a repair is needed even then.
  const alike = left.length === 0 && failed.every(({ error }) => error instanceof UnsentError);
  const advice = alike ? "" : `; ${REPAIR}`;
  return new StatusError(code, `etcd-braid: not carried out on all shards: ${failures}; ${state}${advice}`);
}
