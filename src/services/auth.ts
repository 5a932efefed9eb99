import { mayAdminister } from "../auth/permission.js";
import { fromAsync } from "../rpc/async.js";
import type { Call, UnaryHandler } from "../rpc/call.js";
import { NONE, type Service } from "../rpc/service.js";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import {
  AuthenticateRequest,
  AuthenticateResponse,
  AuthRoleAddRequest,
  AuthRoleGetRequest,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthUserAddRequest,
} from "../wire/messages.js";
import { Auth } from "../wire/paths.js";
import { AdminLock } from "./auth/adminLock.js";
import { change } from "./auth/change.js";
import { type AuthContext, type AuthDeps, queryOptions } from "./auth/context.js";
import { enable } from "./auth/enable.js";
import { isGenGrant, reservedGrant } from "./auth/genGrants.js";
import { protectOwnUser } from "./auth/protect.js";
import { query, status } from "./auth/query.js";

export type { AuthAccess } from "./auth/context.js";

/** Longest name of a user or role. */
const MAX_NAME_BYTES = 32_768;

const QUERIES = [Auth.UserGet, Auth.UserList, Auth.RoleGet, Auth.RoleList];
const CHANGES = [
  Auth.AuthDisable,
  Auth.UserAdd,
  Auth.UserDelete,
  Auth.UserChangePassword,
  Auth.UserGrantRole,
  Auth.UserRevokeRole,
  Auth.RoleAdd,
  Auth.RoleDelete,
  Auth.RoleGrantPermission,
  Auth.RoleRevokePermission,
];

/** etcd's Auth service. All shards have the same users and roles, and are changed as one. */
export function createAuth(deps: AuthDeps): Service {
  const { currentHost, timeline } = deps;
  const lock = new AdminLock(currentHost, () => timeline.beginWrite(true));
  const context: AuthContext = { ...deps, lock };
  const { access } = deps;
  const unary = new Map<string, UnaryHandler>([
    [Auth.Authenticate, fromAsync((_call, request) => authenticate(context, request))],
    [Auth.AuthStatus, current(context, (call, request) => status(context, call, request))],
    [Auth.AuthEnable, current(context, (call) => enable(context, call), true)],
  ]);
  for (const path of QUERIES) {
    unary.set(
      path,
      current(context, (call, request) => query(context, call, path, request)),
    );
  }
  for (const path of CHANGES) {
    const admit = async (call: Call, request: Uint8Array) => {
      await mayAdminister([deps.shards.first], call);
      check(path, request);
      if (isGenRevocation(path, request)) throw await notGranted(deps.shards.first, call, request);
      if (access !== undefined) await protectOwnUser(access.own, deps.shards.all(), call, path, request);
    };
    unary.set(
      path,
      current(context, (call, request) => change(context, call, path, request, admit(call, request)), true),
    );
  }
  return { unary, stream: NONE };
}

/**
 * A handler whose header covers all that was acknowledged before the call, as in etcd, where these calls go through the Raft
 * log. Not used for logins, which must not depend on the timeline host, and whose revision no client uses. A `locked` handler
 * needs the timeline host, because its lock is there.
 */
function current(
  { timeline }: AuthContext,
  run: (call: Call, request: Uint8Array) => Promise<Uint8Array>,
  locked = false,
): UnaryHandler {
  return fromAsync(async (call, request) => {
    await (locked ? timeline.beginWrite(true) : timeline.refresh());
    return run(call, request);
  });
}

/** Throws for requests that crash an etcd when it applies them, now and after each restart, and for reserved grants. */
function check(path: string, request: Uint8Array): void {
  if (path === Auth.RoleGrantPermission) {
    // The error of etcd 3.5. etcd 3.4 accepts the request.
    const { perm } = AuthRoleGrantPermissionRequest.decode(request);
    if (perm === undefined) throw etcd.permissionNotGiven();
    if (isGenGrant(perm)) throw reservedGrant();
  } else if (path === Auth.UserAdd) checkName(AuthUserAddRequest.decode(request).name);
  else if (path === Auth.RoleAdd) checkName(AuthRoleAddRequest.decode(request).name);
}

/** True for a client's attempt to revoke the permission that the proxies have granted by themselves. */
const isGenRevocation = (path: string, request: Uint8Array): boolean =>
  path === Auth.RoleRevokePermission && isGenGrant(AuthRoleRevokePermissionRequest.decode(request));

/** etcd's error for a permission that a role does not have. Rejects if there is no such role. */
async function notGranted(shard: Shard, call: Call, request: Uint8Array): Promise<StatusError> {
  const { role } = AuthRoleRevokePermissionRequest.decode(request);
  await shard.call(Auth.RoleGet, AuthRoleGetRequest.encode({ role }), queryOptions(call));
  return etcd.permissionNotGranted();
}

/** Names are keys in etcd's backend file, which does not accept longer ones. */
function checkName(name: string): void {
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return;
  throw new StatusError(Code.INVALID_ARGUMENT, `etcd-braid: a name has ${MAX_NAME_BYTES} bytes at most`);
}

async function authenticate(context: AuthContext, request: Uint8Array): Promise<Uint8Array> {
  const { access, identity, timeline } = context;
  // A proxy without a user cannot use shards with authentication on.
  if (access === undefined) throw etcd.authNotEnabled();
  const { name, password } = AuthenticateRequest.decode(request);
  const token = await access.authenticator.login(name, password);
  return Buffer.concat([identity.header(timeline.head), AuthenticateResponse.encode({ token })]);
}
