import type { Call, UnaryHandler } from "../server/transport.js";
import { etcd } from "../status/etcd.js";
import {
  AuthenticateRequest,
  AuthenticateResponse,
  AuthRoleGrantPermissionRequest,
} from "../wire/messages.js";
import { Auth } from "../wire/paths.js";
import { fromAsync } from "./async.js";
import { change } from "./auth/change.js";
import type { AuthContext, AuthDeps } from "./auth/context.js";
import { enable } from "./auth/enable.js";
import { AdminLock } from "./auth/lock.js";
import { look, status } from "./auth/look.js";
import { protectOwnUser } from "./auth/protect.js";

export type { AuthAccess } from "./auth/context.js";

const LOOKS = [Auth.UserGet, Auth.UserList, Auth.RoleGet, Auth.RoleList];
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

/** etcd's Auth service: all shards have the same users and roles, and are changed as one. */
export function authHandlers(deps: AuthDeps): Map<string, UnaryHandler> {
  const context: AuthContext = { ...deps, lock: new AdminLock(deps.host) };
  const { access } = deps;
  const handlers = new Map<string, UnaryHandler>([
    [Auth.Authenticate, fromAsync((_call, request) => authenticate(context, request))],
    [Auth.AuthStatus, fromAsync((call, request) => status(context, call, request))],
    [Auth.AuthEnable, fromAsync((call) => enable(context, call))],
  ]);
  for (const path of LOOKS) {
    handlers.set(
      path,
      fromAsync((call, request) => look(context, call, path, request)),
    );
  }
  for (const path of CHANGES) {
    const run = async (call: Call, request: Uint8Array) => {
      if (path === Auth.RoleGrantPermission) checkPermission(request);
      if (access !== undefined) protectOwnUser(access.own, path, request);
      return change(context, call, path, request);
    };
    handlers.set(path, fromAsync(run));
  }
  return handlers;
}

/** Applying a grant without a permission is the end of every etcd 3.4 that applies it; etcd 3.5 refuses it like this. */
function checkPermission(request: Uint8Array): void {
  if (AuthRoleGrantPermissionRequest.decode(request).perm === undefined) throw etcd.permissionNotGiven();
}

async function authenticate(context: AuthContext, request: Uint8Array): Promise<Uint8Array> {
  const { access, identity, timeline } = context;
  // Shards with authentication on do not serve a proxy without a user.
  if (access === undefined) throw etcd.authNotEnabled();
  const { name, password } = AuthenticateRequest.decode(request);
  const token = await access.authenticator.login(name, password);
  return Buffer.concat([identity.header(timeline.head), AuthenticateResponse.encode({ token })]);
}
