import type { Handlers } from "../rpc/call.js";
import { StatusError } from "../status/error.js";
import type { Codec } from "../wire/codec.js";
import {
  AuthenticateRequest,
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGetRequest,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserGetRequest,
  AuthUserGrantRoleRequest,
  AuthUserRevokeRoleRequest,
  MemberListRequest,
} from "../wire/messages.js";
import { Auth, Cluster, Lease, Maintenance } from "../wire/paths.js";
import { message } from "../wire/tableCodec.js";

const NO_FIELDS = message({});

/** Request types of methods whose handlers do not decode their request at once. */
const REQUESTS: readonly (readonly [path: string, request: Pick<Codec<unknown>, "decode">])[] = [
  [Auth.AuthEnable, NO_FIELDS],
  [Auth.AuthDisable, NO_FIELDS],
  [Auth.AuthStatus, NO_FIELDS],
  [Auth.Authenticate, AuthenticateRequest],
  [Auth.UserAdd, AuthUserAddRequest],
  [Auth.UserGet, AuthUserGetRequest],
  [Auth.UserList, NO_FIELDS],
  [Auth.UserDelete, AuthUserDeleteRequest],
  [Auth.UserChangePassword, AuthUserChangePasswordRequest],
  [Auth.UserGrantRole, AuthUserGrantRoleRequest],
  [Auth.UserRevokeRole, AuthUserRevokeRoleRequest],
  [Auth.RoleAdd, AuthRoleAddRequest],
  [Auth.RoleGet, AuthRoleGetRequest],
  [Auth.RoleList, NO_FIELDS],
  [Auth.RoleDelete, AuthRoleDeleteRequest],
  [Auth.RoleGrantPermission, AuthRoleGrantPermissionRequest],
  [Auth.RoleRevokePermission, AuthRoleRevokePermissionRequest],
  [Cluster.MemberList, MemberListRequest],
  [Lease.LeaseLeases, NO_FIELDS],
  [Maintenance.Status, NO_FIELDS],
  [Maintenance.Defragment, NO_FIELDS],
  [Maintenance.Hash, NO_FIELDS],
  [Maintenance.Snapshot, NO_FIELDS],
];

/**
 * Wraps handlers so that malformed requests are refused before a handler runs. etcd, too, decodes a request first.
 * Handlers that decode their request at once are not wrapped.
 */
export function wellFormed({ unary, stream }: Handlers): Handlers {
  const checked = new Map(unary);
  for (const [path, codec] of REQUESTS) {
    const handler = unary.get(path);
    if (handler === undefined) throw new Error(`no service has the method ${path}`);
    checked.set(path, (call, request, reply) => {
      try {
        codec.decode(request);
      } catch (reason) {
        return reply(StatusError.from(reason));
      }
      handler(call, request, reply);
    });
  }
  return { unary: checked, stream };
}
