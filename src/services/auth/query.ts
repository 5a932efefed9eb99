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
import { type AuthContext, isEtcdError, queryOptions } from "./context.js";
import { isGenGrant } from "./genGrants.js";

/** A shard's response to a query, without header, or its error. */
interface Answer {
  readonly shard: Shard;
  readonly body: Uint8Array;
  readonly error: StatusError | undefined;
}

/** Sends a query to all shards, in the client's name. Returns the response if all shards agree, else throws. */
export async function query(
  context: AuthContext,
  call: Call,
  path: string,
  request: Uint8Array,
): Promise<Uint8Array> {
  const { shards, identity, timeline } = context;
  const answers = await Promise.all(
    shards.all().map(async (shard): Promise<Answer> => {
      try {
        const response = await shard.call(path, request, queryOptions(call));
        return { shard, body: bodyOf(path, response), error: undefined };
      } catch (reason) {
        return { shard, body: EMPTY, error: StatusError.from(reason) };
      }
    }),
  );
  const down = answers.find(({ error }) => error !== undefined && !isEtcdError(error));
  if (down !== undefined) throw down.error;
  const [first, ...others] = answers;
  if (first === undefined) throw new RangeError("no shards");
  const text = ({ body, error }: Answer) => error?.message ?? Buffer.from(body).toString("latin1");
  const other = others.find((answer) => text(answer) !== text(first));
  if (other !== undefined) throw difference(first, other);
  if (first.error !== undefined) throw first.error;
  return Buffer.concat([identity.header(timeline.head), first.body]);
}

/** A response without its header, and without the proxies' own grants. Permissions are sorted, because etcd does not define the order of those with the same key. */
function bodyOf(path: string, response: Uint8Array): Uint8Array {
  if (path !== Auth.RoleGet) return replaceHeader(response, EMPTY);
  const { perm } = AuthRoleGetResponse.decode(response);
  return AuthRoleGetResponse.encode({ perm: perm.filter((one) => !isGenGrant(one)).sort(byRange) });
}

function byRange(a: Permission, b: Permission): number {
  return Buffer.compare(a.key, b.key) || Buffer.compare(a.rangeEnd, b.rangeEnd);
}

function difference(one: Answer, other: Answer): StatusError {
  const names = [describeShard(one.shard), describeShard(other.shard)];
  const [a, b] = [one, other].map(({ error }) => (error === undefined ? "has an answer" : error.message));
  const report =
    a === b ? `${names.join(" and ")} have different answers` : `${names[0]}: ${a}; ${names[1]}: ${b}`;
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `etcd-braid: the shards do not have the same users and roles: ${report}; ` +
      "`braid auth repair` shows how they differ, and repairs them with --fix",
  );
}

/** AuthStatus of the store. Its auth revision is the sum of the shards' revisions, which grows with every change. */
export async function status(context: AuthContext, call: Call, request: Uint8Array): Promise<Uint8Array> {
  const { shards, identity, timeline } = context;
  const all = await Promise.all(
    shards.all().map(async (shard) => {
      return { name: describeShard(shard), ...(await statusOf(shard, call, request)) };
    }),
  );
  const on = all.filter(({ enabled }) => enabled).map(({ name }) => name);
  const off = all.filter(({ enabled }) => !enabled).map(({ name }) => name);
  if (on.length > 0 && off.length > 0) {
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      `etcd-braid: authentication is on at ${on.join(", ")}, but off at ${off.join(", ")}; ` +
        "`braid auth repair` repairs that with --fix",
    );
  }
  const authRevision = all.reduce((sum, one) => sum + one.authRevision, 0);
  const body = AuthStatusResponse.encode({ enabled: on.length > 0, authRevision });
  return Buffer.concat([identity.header(timeline.head), body]);
}

async function statusOf(
  shard: Shard,
  call: Call,
  request: Uint8Array,
): Promise<{ enabled: boolean; authRevision: number }> {
  try {
    return AuthStatusResponse.decode(await shard.call(Auth.AuthStatus, request, queryOptions(call)));
  } catch (reason) {
    if (StatusError.from(reason).code !== Code.UNIMPLEMENTED) throw reason;
    return { enabled: await isEnabled(shard), authRevision: 0 };
  }
}

const NO_USER = AuthenticateRequest.encode({});

/** Whether a shard has authentication on, by its error for a login without a user. etcd 3.4 has no AuthStatus. */
export async function isEnabled(shard: Shard): Promise<boolean> {
  try {
    await shard.call(Auth.Authenticate, NO_USER, { idempotent: true });
  } catch (reason) {
    const error = StatusError.from(reason);
    if (isAuthOff(error)) return false;
    if (error.code === Code.UNAVAILABLE || error.code === Code.DEADLINE_EXCEEDED) throw error;
  }
  return true;
}
