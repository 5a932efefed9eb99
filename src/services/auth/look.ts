import type { Call } from "../../rpc/call.js";
import { isAuthOff } from "../../shard/access.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import {
  AuthenticateRequest,
  AuthRoleGetResponse,
  AuthStatusResponse,
  EMPTY,
  type Permission,
} from "../../wire/messages.js";
import { Auth } from "../../wire/paths.js";
import { replaceHeader } from "../../wire/rewrite.js";
import { type AuthContext, asClient, isEtcds } from "./context.js";

/** Asks all shards, as the client, and answers what all of them say. */
export async function look(
  context: AuthContext,
  call: Call,
  path: string,
  request: Uint8Array,
): Promise<Uint8Array> {
  const { shards, identity, timeline } = context;
  const outcomes = await Promise.allSettled(shards.map((shard) => shard.call(path, request, asClient(call))));
  const answers = outcomes.map((outcome) =>
    outcome.status === "fulfilled"
      ? { said: bodyOf(path, outcome.value), error: undefined }
      : { said: undefined, error: StatusError.from(outcome.reason) },
  );
  const down = answers.find(({ error }) => error !== undefined && !isEtcds(error));
  if (down !== undefined) throw down.error;
  const first = answers[0]!;
  const text = ({ said, error }: typeof first) =>
    error?.message ?? Buffer.from(said ?? EMPTY).toString("latin1");
  const other = answers.findIndex((answer) => text(answer) !== text(first));
  if (other > 0) throw difference(shards[0]!, shards[other]!, first.error, answers[other]!.error);
  if (first.error !== undefined) throw first.error;
  return Buffer.concat([identity.header(timeline.head), first.said ?? EMPTY]);
}

/** The rest of the answer without its header. Permissions with the same key are in no order that etcd promises. */
function bodyOf(path: string, response: Uint8Array): Uint8Array {
  if (path !== Auth.RoleGet) return replaceHeader(response, EMPTY);
  const { perm } = AuthRoleGetResponse.decode(response);
  return AuthRoleGetResponse.encode({ perm: perm.sort(byRange) });
}

function byRange(a: Permission, b: Permission): number {
  return Buffer.compare(a.key, b.key) || Buffer.compare(a.rangeEnd, b.rangeEnd);
}

function difference(
  one: Shard,
  other: Shard,
  errorOfOne: StatusError | undefined,
  errorOfOther: StatusError | undefined,
): StatusError {
  const says = (error: StatusError | undefined) => (error === undefined ? "has an answer" : error.message);
  const tales =
    errorOfOne?.message === errorOfOther?.message
      ? `${describeShard(one)} and ${describeShard(other)} have different answers`
      : `${describeShard(one)}: ${says(errorOfOne)}; ${describeShard(other)}: ${says(errorOfOther)}`;
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `etcd-braid: the shards do not have the same users and roles: ${tales}; ` +
      "`braid auth repair` shows how they differ, and mends it",
  );
}

/** AuthStatus of the store; its auth revision, the sum of the shards', grows with every change. */
export async function status(context: AuthContext, call: Call, request: Uint8Array): Promise<Uint8Array> {
  const { shards, identity, timeline } = context;
  const all = await Promise.all(shards.map((shard) => statusOf(shard, call, request)));
  const [on, off] = [true, false].map((enabled) =>
    shards.filter((_, i) => all[i]!.enabled === enabled).map(describeShard),
  );
  if (on!.length > 0 && off!.length > 0) {
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      `etcd-braid: authentication is on at ${on!.join(", ")}, but off at ${off!.join(", ")}; ` +
        "`braid auth repair` mends it",
    );
  }
  const authRevision = all.reduce((sum, one) => sum + one.authRevision, 0);
  const body = AuthStatusResponse.encode({ enabled: on!.length > 0, authRevision });
  return Buffer.concat([identity.header(timeline.head), body]);
}

async function statusOf(
  shard: Shard,
  call: Call,
  request: Uint8Array,
): Promise<{ enabled: boolean; authRevision: number }> {
  try {
    return AuthStatusResponse.decode(await shard.call(Auth.AuthStatus, request, asClient(call)));
  } catch (reason) {
    if (StatusError.from(reason).code !== Code.UNIMPLEMENTED) throw reason;
    return { enabled: await isEnabled(shard), authRevision: 0 };
  }
}

const NOBODY = AuthenticateRequest.encode({});

/** Whether a shard has authentication on, by what it says to nobody's login: etcd 3.4 has no other way to ask. */
export async function isEnabled(shard: Shard): Promise<boolean> {
  try {
    await shard.call(Auth.Authenticate, NOBODY, { idempotent: true });
  } catch (reason) {
    const error = StatusError.from(reason);
    if (isAuthOff(error)) return false;
    if (error.code === Code.UNAVAILABLE || error.code === Code.DEADLINE_EXCEEDED) throw error;
  }
  return true;
}
